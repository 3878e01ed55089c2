//! DHCP servers: those that people run.

mod config;
pub mod overheard;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::wait;

/// A server's make. What one can't do is told here, and in `docs/dhcp.md`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Make {
    /// dnsmasq.
    Dnsmasq,
    /// ISC's Kea.
    Kea,
    /// ISC's dhcpd.
    Isc,
    /// busybox's udhcpd.
    Udhcpd,
}

impl Make {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dnsmasq, Self::Kea, Self::Isc, Self::Udhcpd];

    /// Its program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Dnsmasq => "dnsmasq",
            Self::Kea => "kea-dhcp4",
            Self::Isc => "dhcpd",
            Self::Udhcpd => "udhcpd",
        }
    }

    /// Whether it can be found.
    pub fn is_there(self) -> bool {
        ["/usr/sbin", "/usr/bin", "/sbin", "/usr/local/sbin"]
            .iter()
            .any(|directory| Path::new(directory).join(self.program()).exists())
    }

    /// Whether a test can wait for the end of what it lends: dnsmasq lends for no less than two minutes.
    pub fn lends_for_seconds(self) -> bool {
        self != Self::Dnsmasq
    }

    /// Whether it tells clients apart by their identifiers: udhcpd does so by their MAC alone.
    pub fn reads_identifiers(self) -> bool {
        self != Self::Udhcpd
    }

    /// Whether it refuses to extend what it can't have lent: others than dnsmasq say nothing, and the lease ends.
    /// To a client that asks for such an address after a restart, all say no.
    pub fn refuses_extensions(self) -> bool {
        self == Self::Dnsmasq
    }

    /// Whether it extends, at T2, what another server has lent: udhcpd says nothing, and the lease ends.
    pub fn extends_others(self) -> bool {
        self != Self::Udhcpd
    }
}

/// For how long a server lends, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// When the client is to ask for more: T1. dnsmasq takes no less than 3.
    pub renew: u32,
    /// When it is to ask any server: T2. dnsmasq takes no less than 4, where T1 is 3.
    pub rebind: u32,
    /// When the lease ends. With dnsmasq, that is not before 120.
    pub end: u32,
}

/// What a server lends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    /// Its interface.
    pub interface: &'static str,
    /// The first address that it lends, of the interface's network of 24 bits.
    pub first: Ipv4Addr,
    /// The last.
    pub last: Ipv4Addr,
    /// For how long.
    pub terms: Terms,
}

impl Scope {
    fn network(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.first.to_bits() & 0xffff_ff00)
    }
}

/// A server at work.
#[derive(Debug)]
pub struct Dhcp {
    process: Process,
}

impl Dhcp {
    /// Starts a server and waits until it listens. What it lent before it remembers, if `directory` is the same.
    ///
    /// # Errors
    /// When it does not come up; the text has its log.
    pub fn start(make: Make, host: &Namespace, scope: &Scope, directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let mut command = host.command(make.program());
        match make {
            Make::Dnsmasq => config::dnsmasq(&mut command, scope, directory),
            Make::Kea => config::kea(&mut command, scope, directory)?,
            Make::Isc => config::isc(&mut command, scope, directory)?,
            Make::Udhcpd => config::udhcpd(&mut command, scope, directory)?,
        }
        let mut process = Process::start(&mut command, directory.join("log"))?;
        wait::until("the DHCP server listens", Duration::from_secs(30), || {
            listens(host) || !process.is_running()
        })
        .with_context(|| process.log())?;
        ensure!(process.is_running(), "{make:?} has ended: {}", process.log());
        Ok(Self { process })
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Kills it.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub fn kill(self) -> Result<()> {
        self.process.kill()
    }
}

/// A socket on the servers' port, or a packet socket.
fn listens(host: &Namespace) -> bool {
    let tables = host.enter(|| {
        let read = |table: &str| fs::read_to_string(format!("/proc/thread-self/net/{table}"));
        (read("udp").unwrap_or_default(), read("packet").unwrap_or_default())
    });
    let Ok((udp, packet)) = tables else { return false };
    let is_bound =
        udp.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(":0043")));
    is_bound || packet.lines().count() > 1
}
