//! Asking the daemon, over and over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::client::{AskLibvirt, Client};
use super::domain::{self, Defined};
use super::wire::{Domain, Found, Source};
use crate::inventory::file::{Declared, Reading};
use crate::model::range::unfit;
use crate::model::shared::share;
use crate::model::vm::{Interface, VirtualMachine, VirtualMachines};

/// From one look to the next.
const PERIOD: Duration = Duration::from_secs(5);
/// A daemon that has not told of all domains by then hangs.
const PATIENCE: Duration = Duration::from_mins(1);
/// A domain whose addresses are not told by then has none: its guest hangs.
const ADDRESSES: Duration = Duration::from_secs(3);
/// As many domains are asked for addresses at once: each is a thread of the daemon's, which has twenty.
const AT_ONCE: usize = 8;
/// As many addresses of an interface are of use; a guest tells as many as it likes.
const MAX_ADDRESSES: usize = 64;

/// Publishes the domains whenever they change, for ever. The first publication is of the first look.
pub(in crate::inventory) async fn run(socket: PathBuf, readings: watch::Sender<Reading>) {
    let place = socket.display();
    let mut is_first = true;
    loop {
        let result = match timeout(PATIENCE, look(&socket)).await {
            Ok(result) => result.map_err(|error| format!("libvirt at {place}: {error}")),
            Err(_) => Err(format!("libvirt at {place}: no answer within {PATIENCE:?}")),
        };
        readings.send_if_modified(|reading| {
            let new = match result {
                Ok(mut vms) => {
                    share(&mut vms, &reading.declared.vms);
                    let declared = Declared { vms: vms.into(), ..Declared::default() };
                    Reading { declared: declared.into(), problem: None }
                }
                Err(problem) => Reading { problem: Some(problem), ..reading.clone() },
            };
            let is_news = is_first || *reading != new;
            if let Some(problem) = new.problem.as_ref().filter(|_| reading.problem != new.problem) {
                tracing::warn!("{problem}; its VMs stay as they are");
            } else if is_news && new.problem.is_none() {
                tracing::info!("libvirt at {place}: {} virtual machines", new.declared.vms.len());
            }
            *reading = new;
            is_news
        });
        is_first = false;
        sleep(PERIOD).await;
    }
}

/// All domains as they are now.
async fn look(socket: &Path) -> Result<VirtualMachines, AskLibvirt> {
    let mut client = Client::open(socket).await?;
    let mut running = Vec::new();
    let mut vms = VirtualMachines::new();
    let mut domains = BTreeMap::new();
    for domain in client.domains().await? {
        let Some((defined, is_running)) = inspect(&mut client, &domain).await? else { continue };
        let key = defined.vm.key();
        if let Some(other) = domains.insert(key.clone(), domain.name.clone()) {
            tracing::warn!(%key, "the domains {other} and {} have the same name; one is passed over", domain.name);
            continue;
        }
        if is_running {
            running.push((key.clone(), domain, defined.has_agent));
        }
        vms.insert(key, VirtualMachine { running: is_running, ..defined.vm }.into());
    }
    let found = stream::iter(running)
        .map(|(key, domain, has_agent)| async move { (key, addresses(socket, &domain, has_agent).await) })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    for (key, found) in found {
        let interfaces = vms.get_mut(&key).map(|vm| &mut Arc::make_mut(vm).interfaces);
        for interface in interfaces.into_iter().flatten() {
            give(interface, &found);
        }
    }
    Ok(vms)
}

/// What a domain is, and whether it runs; `None` if it has gone in the meantime or can be no VM.
async fn inspect(client: &mut Client, domain: &Domain) -> Result<Option<(Defined, bool)>, AskLibvirt> {
    let xml = match client.xml(domain).await {
        Err(AskLibvirt::Reply(error)) => {
            tracing::debug!(domain = domain.name, %error, "no definition");
            return Ok(None);
        }
        result => result?,
    };
    let defined = match domain::read(&xml) {
        Ok(defined) => defined,
        Err(problem) => {
            tracing::debug!(domain = domain.name, problem, "passed over");
            return Ok(None);
        }
    };
    let is_running = domain.id >= 0
        && match client.is_running(domain).await {
            Err(AskLibvirt::Reply(_)) => false,
            result => result?,
        };
    Ok(Some((defined, is_running)))
}

/// What the guest's agent tells, else what libvirt's own networks have lent; on a connection of its own, so that no
/// guest has others wait.
async fn addresses(socket: &Path, domain: &Domain, has_agent: bool) -> Vec<Found> {
    let ask = async {
        let mut client = Client::open(socket).await?;
        if has_agent {
            match client.addresses(domain, Source::Agent).await {
                Err(AskLibvirt::Reply(error)) => {
                    tracing::debug!(domain = domain.name, %error, "no agent answers");
                }
                result => return result,
            }
        }
        client.addresses(domain, Source::Lease).await
    };
    match timeout(ADDRESSES, ask).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::debug!(domain = domain.name, %error, "no addresses");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(domain = domain.name, "no addresses in time");
            Vec::new()
        }
    }
}

fn give(interface: &mut Interface, found: &[Found]) {
    let own = found.iter().filter(|found| found.mac.is_some() && found.mac == interface.mac);
    let texts = own.flat_map(|found| &found.addresses);
    let fit = texts.filter(|text| text.parse().is_ok_and(|address| unfit(address).is_none()));
    interface.ip_addresses = fit.take(MAX_ADDRESSES).cloned().collect();
    interface.ip_address = interface.ip_addresses.first().cloned().unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_gives_an_interface_no_more_addresses_than_are_of_use() {
        let mac = crate::model::vm::parse_mac("02:00:00:00:00:0b");
        let found = |name: &str, third: u8| Found {
            name: name.into(),
            mac,
            addresses: std::iter::once("fe80::1".to_owned())
                .chain((1..=50).map(|last| format!("198.18.{third}.{last}")))
                .collect(),
        };
        let mut interface = Interface { mac, ..Interface::default() };
        give(&mut interface, &[found("eth0", 0), found("eth0:1", 1), found("eth0:2", 2)]);
        assert_eq!(interface.ip_addresses.len(), MAX_ADDRESSES);
        assert_eq!(interface.ip_address, "198.18.0.1");
        assert_eq!(interface.ip_addresses.last().map(String::as_str), Some("198.18.1.14"));
    }
}
