//! `lb delete`.

use clap::Args;

use super::client::Client;
use super::{Namespace, path};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb delete front
  lb delete front dns -n shop")]
pub(super) struct Arguments {
    /// The load balancers
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    namespace: Namespace,
    /// What does not exist is no error
    #[arg(long)]
    ignore_not_found: bool,
}

pub(super) async fn run(client: &Client, arguments: &Arguments) -> anyhow::Result<String> {
    let namespace = &arguments.namespace.namespace;
    let mut text = String::new();
    for name in &arguments.names {
        match client.delete(&path::load_balancer(namespace, name)).await {
            Ok(_) => super::line(&mut text, format_args!("LoadBalancer {namespace}/{name} deleted")),
            Err(error) if error.is_not_found() && arguments.ignore_not_found => {}
            Err(error) => {
                super::print(&text)?;
                return Err(error.into());
            }
        }
    }
    Ok(text)
}
