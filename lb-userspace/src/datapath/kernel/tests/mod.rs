//! Against this machine's kernel, in network namespaces and pin directories of their own.

mod events;
mod flows;
mod foreign;
mod hooks;
mod maps;
mod one_bucket;
mod upgrades;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, unshare};

use super::*;
use crate::config::Timeouts;
use crate::datapath::model::{
    BackendState, Mac, Placement, Protocol, Selection, Source, Subnet, Terms, VipPolicy,
};

const SETTINGS: config::Datapath = config::Datapath {
    flow_entries: 1024,
    max_listeners: 64,
    max_backends: 256,
    new_flows_per_second: 0,
    flow_accounting: false,
    timeouts: Timeouts {
        tcp_opening: std::time::Duration::from_mins(1),
        tcp_established: std::time::Duration::from_hours(2),
        tcp_closing: std::time::Duration::from_secs(10),
        udp_opening: std::time::Duration::from_secs(30),
        udp_established: std::time::Duration::from_mins(3),
    },
};

/// A pin directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lb-unit-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(PathBuf::from("/sys/fs/bpf").join(name))
    }

    fn open(&self) -> Result<Kernel, KernelError> {
        Kernel::open(&self.0, &SETTINGS)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        pins::remove_all(&self.0).unwrap();
    }
}

/// Runs a test in a thread with its own network namespace, or says why it can't run.
fn in_namespace(test: impl FnOnce(Directory) + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        return skip("loading packet programs needs root");
    }
    if let Err(error @ KernelError::Lacking(_)) = Shapes::read(OBJECT, &SETTINGS) {
        return skip(&error.to_string());
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        test(Directory::new());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Where `cargo xtask test` looks for the reasons of tests that did not run.
fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    eprintln!("skipped {test}: {reason}");
    if let Some(file) = std::env::var_os("LB_TEST_SKIPS") {
        let file = std::fs::File::options().append(true).create(true).open(file);
        file.and_then(|mut file| writeln!(file, "{test}: {reason}")).unwrap();
    }
}

const LISTENER: ListenerAddress = ListenerAddress {
    vip: IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1)),
    port: 80,
    last_port: None,
    protocol: Protocol::Tcp,
};

fn backend(state: BackendState, generation: u8) -> BackendEntry {
    BackendEntry {
        listener: ListenerIndex(5),
        address: SocketAddr::from(([192, 0, 2, 11], 8080)),
        placement: Placement { mac: Some(Mac([2, 0, 0, 0, 1, 11])), ifindex: 3, ..Placement::default() },
        state,
        weight: 1,
        generation,
        limited_by: Some(BalancerIndex(3)),
    }
}

const LISTENER_V6: ListenerAddress = ListenerAddress {
    vip: IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80)),
    ..LISTENER
};

fn server_v6() -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, 0x11], 8080))
}

/// A VIP, a listener with a table of 251 slots, and its backend; and the same of IPv6.
fn commands() -> Vec<Command> {
    let entry = ListenerEntry {
        index: ListenerIndex(5),
        slots: 251,
        drop_unserved: true,
        selection: Selection::Random,
        affinity: 7,
        terms: Terms { balancer: BalancerIndex(3), filtered: true, limited: true, strict: true },
    };
    vec![
        Command::PutBackend(BackendId(1), backend(BackendState::Active, 0)),
        Command::PutTable(ListenerIndex(5), vec![BackendId(1); 251].into()),
        Command::PutListener(LISTENER, entry),
        Command::PutVip(LISTENER.vip, VipPolicy { drop_unserved: true, ..VipPolicy::default() }),
        Command::PutBackend(
            BackendId(2),
            BackendEntry {
                address: server_v6(),
                listener: ListenerIndex(6),
                ..backend(BackendState::Active, 0)
            },
        ),
        Command::PutTable(ListenerIndex(6), vec![BackendId(2); 251].into()),
        Command::PutListener(LISTENER_V6, ListenerEntry { index: ListenerIndex(6), ..entry }),
        Command::PutVip(LISTENER_V6.vip, VipPolicy { drop_unserved: false, ..VipPolicy::default() }),
    ]
}

/// A block of ports of a range.
const PIECE: ListenerAddress = ListenerAddress { port: 8000, last_port: Some(8063), ..LISTENER };
const PIECE_V6: ListenerAddress = ListenerAddress { port: 0, last_port: Some(u16::MAX), ..LISTENER_V6 };

fn subnet(text: &str) -> Subnet {
    Subnet::parse(text).unwrap()
}

/// Ranges of ports, source ranges and limits.
fn policy_commands() -> Vec<Command> {
    let entry = ListenerEntry {
        index: ListenerIndex(7),
        slots: 0,
        drop_unserved: false,
        selection: Selection::Maglev,
        affinity: 0,
        terms: Terms::default(),
    };
    let limits = CheckedLimits { flows: 7_000_000, packets: 10, source_flows: 3, source_packets: 0 };
    vec![
        Command::PutListener(PIECE, entry),
        Command::PutListener(PIECE_V6, entry),
        Command::PutSource(BalancerIndex(3), subnet("198.51.100.0/24"), Source::Allowed),
        Command::PutSource(BalancerIndex(3), subnet("0.0.0.0/0"), Source::Denied),
        Command::PutSource(BalancerIndex(300), subnet("2001:db8::/63"), Source::Denied),
        Command::PutSource(BalancerIndex(3), subnet("0.0.0.0/0"), Source::Allowed),
        Command::PutLimits(BalancerIndex(3), limits),
        Command::PutLimits(BalancerIndex(4095), limits),
    ]
}

fn fill(kernel: &mut Kernel) {
    for command in commands() {
        kernel.execute(&command).unwrap();
    }
}
