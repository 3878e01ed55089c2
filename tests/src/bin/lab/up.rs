//! `lab up`.

use std::env;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context as _, Result};
use lb_tests::lab::namespace::Namespace;
use lb_tests::lab::server::dns;
use lb_tests::lab::{Lab, SHOP, Spec};

use crate::console::heading;
use crate::service::Service;

/// The file in the lab's directory that says how to enter it.
pub(crate) const GUIDE: &str = "guide.txt";

pub(crate) fn run(spec: Spec) -> Result<()> {
    heading(&format!("A lab: {:?}, hook {}", spec.topology, spec.hook.name()).to_lowercase());
    let service = Service::create(spec)?;
    let guide = guide(&service)?;
    let path = service.lab.id().directory().join(GUIDE);
    fs::write(&path, &guide).with_context(|| format!("write {}", path.display()))?;
    print!("\n{guide}");
    let Service { agent, http, others, lab, .. } = service;
    lab.keep()?;
    // They go on without this process; `lab down` ends them.
    std::mem::forget((agent, http, others));
    Ok(())
}

fn guide(service: &Service) -> Result<String> {
    let Service { lab, vip, stream, .. } = service;
    let mut text = format!("Lab {}\n", lab.id());
    let mut places = vec![("client".to_owned(), lab.client()), ("node".to_owned(), lab.node())];
    places.extend(lab.wiring.switch.as_ref().map(|switch| ("switch".to_owned(), switch)));
    places.extend(lab.vms.iter().map(|vm| (format!("{} {}", vm.name, vm.address), &vm.namespace)));
    for (name, namespace) in places {
        writeln!(text, "  {name:<16} {}", enter(namespace))?;
    }
    let Installation { lb, socket, facts, log } = installation(lab)?;
    write!(
        text,
        "  {:<16} {facts}\n  {:<16} {log}\n\nThe load balancer {SHOP}/front at {vip}; in the client:\n  \
         curl http://{vip}/\n  dig +short TXT {} @{vip}\n  iperf3 -c {stream}\n\nThe command line, on the node or not:\n  \
         export LB_SOCKET={socket}\n  {lb} status\n  {lb} describe front -n {SHOP}\n\nWhen done:\n  \
         cargo xtask lab down\n",
        "VM facts",
        "agent's log",
        dns::QUESTION,
    )?;
    Ok(text)
}

struct Installation {
    lb: String,
    socket: String,
    facts: String,
    log: String,
}

fn installation(lab: &Lab) -> Result<Installation> {
    let own = env::current_exe().context("find this program")?;
    let files = &lab.installation;
    Ok(Installation {
        lb: own.with_file_name("lb").display().to_string(),
        socket: files.socket().display().to_string(),
        facts: files.facts().display().to_string(),
        log: files.directory.join("agent.log").display().to_string(),
    })
}

fn enter(namespace: &Namespace) -> String {
    format!("nsenter --net={}", namespace.path().display())
}
