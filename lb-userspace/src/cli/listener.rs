//! `lb listener`.

use anyhow::bail;
use clap::{Args, Subcommand};

use super::client::Client;
use super::output::Format;
use super::{Namespace, change, get, spec};
use crate::model::load_balancer::{Listener, LoadBalancer};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb listener add front https:443:8443/tcp
  lb listener remove front https
  lb listener remove front 443/tcp")]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Add a listener
    Add(Target),
    /// Remove a listener by its name or by PORT[/PROTOCOL]
    Remove(Target),
}

#[derive(Args, Debug)]
struct Target {
    /// The load balancer
    load_balancer: String,
    /// To add: [NAME:]PORT[-ENDPORT][:BACKENDPORT][/tcp|/udp]; to remove: NAME or PORT[/tcp|/udp]
    spec: String,
    #[command(flatten)]
    namespace: Namespace,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    let (Verb::Add(target) | Verb::Remove(target)) = &arguments.verb;
    let named = (&target.namespace, target.load_balancer.as_str());
    change::load_balancer(client, named, format, |object| match &arguments.verb {
        Verb::Add(_) => add(object, &target.spec),
        Verb::Remove(_) => remove(object, &target.spec),
    })
    .await
}

fn add(object: &mut LoadBalancer, spec: &str) -> anyhow::Result<String> {
    let listener = spec::listener(spec)?;
    let done =
        format!("LoadBalancer {}: listener {} added\n", object.metadata.key(), get::listener(&listener));
    object.spec.listeners.push(listener);
    Ok(done)
}

fn remove(object: &mut LoadBalancer, spec: &str) -> anyhow::Result<String> {
    let (port, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
    let is_meant = |listener: &Listener| match port.parse::<i64>() {
        Ok(port) => listener.port == port && listener.protocol.eq_ignore_ascii_case(protocol),
        Err(_) => listener.name == spec,
    };
    let listeners = &mut object.spec.listeners;
    let Some(position) = listeners.iter().position(is_meant) else {
        let known: Vec<_> = listeners.iter().map(|l| format!("{} ({})", l.name, get::listener(l))).collect();
        bail!(
            "LoadBalancer {} has no listener {spec:?}; name one of {}",
            object.metadata.key(),
            known.join(", ")
        );
    };
    let listener = listeners.remove(position);
    Ok(format!("LoadBalancer {}: listener {} removed\n", object.metadata.key(), get::listener(&listener)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> LoadBalancer {
        let mut object = LoadBalancer::new("shop", "front");
        add(&mut object, "web:80:8080/tcp").unwrap();
        add(&mut object, "dns:80:53/udp").unwrap();
        object
    }

    #[test]
    fn a_listener_is_removed_by_name_or_port() {
        for (spec, left) in [("web", "dns"), ("dns", "web"), ("80", "dns"), ("80/udp", "web")] {
            let mut object = object();
            remove(&mut object, spec).unwrap();
            assert_eq!(object.spec.listeners.len(), 1);
            assert_eq!(object.spec.listeners[0].name, left, "{spec}");
        }
    }

    #[test]
    fn an_unknown_listener_is_refused_with_the_known_ones() {
        let error = remove(&mut object(), "443").unwrap_err().to_string();
        assert!(error.contains("web (80:8080/TCP)"), "{error}");
    }
}
