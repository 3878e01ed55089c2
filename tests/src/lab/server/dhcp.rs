//! DHCP servers: those that people run.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::wait;

/// A server's make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Make {
    /// dnsmasq, which lends for no less than two minutes.
    Dnsmasq,
    /// ISC's Kea.
    Kea,
    /// ISC's dhcpd.
    Isc,
    /// busybox's udhcpd, which tells clients apart by their MAC alone.
    Udhcpd,
}

impl Make {
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
    /// For how many seconds. T1 is at half of it, T2 at three quarters.
    pub seconds: u32,
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
            Make::Dnsmasq => dnsmasq(&mut command, scope, directory),
            Make::Kea => kea(&mut command, scope, directory)?,
            Make::Isc => isc(&mut command, scope, directory)?,
            Make::Udhcpd => udhcpd(&mut command, scope, directory)?,
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

fn dnsmasq(command: &mut Command, scope: &Scope, directory: &Path) {
    let Scope { interface, first, last, seconds } = scope;
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file="])
        .args(["--log-facility=-", "--log-dhcp", "--bind-interfaces"])
        .arg(format!("--interface={interface}"))
        .args(["--dhcp-authoritative", "--dhcp-sequential-ip", "--no-ping"])
        .arg(format!("--dhcp-leasefile={}", directory.join("leases").display()))
        .arg(format!("--dhcp-range={first},{last},255.255.255.0,{seconds}"));
}

fn kea(command: &mut Command, scope: &Scope, directory: &Path) -> Result<()> {
    let Scope { interface, first, last, seconds } = scope;
    let network = scope.network();
    let leases = directory.join("leases.csv");
    let text = format!(
        r#"{{"Dhcp4": {{
  "interfaces-config": {{"interfaces": ["{interface}"], "dhcp-socket-type": "raw"}},
  "lease-database": {{"type": "memfile", "persist": true, "name": "{}", "lfc-interval": 0}},
  "valid-lifetime": {seconds}, "renew-timer": {}, "rebind-timer": {},
  "authoritative": true,
  "subnet4": [{{"subnet": "{network}/24", "pools": [{{"pool": "{first} - {last}"}}]}}],
  "loggers": [{{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{{"output": "stdout"}}]}}]
}}}}
"#,
        leases.display(),
        seconds / 2,
        seconds * 3 / 4,
    );
    let path = write(directory, "kea.json", &text)?;
    command.env("KEA_PIDFILE_DIR", directory).env("KEA_LOCKFILE_DIR", directory).arg("-c").arg(path);
    Ok(())
}

fn isc(command: &mut Command, scope: &Scope, directory: &Path) -> Result<()> {
    let Scope { interface, first, last, seconds } = scope;
    let network = scope.network();
    let text = format!(
        "authoritative;\nping-check false;\none-lease-per-client true;\n\
         default-lease-time {seconds};\nmax-lease-time {seconds};\nmin-lease-time {seconds};\n\
         option dhcp-renewal-time {};\noption dhcp-rebinding-time {};\n\
         subnet {network} netmask 255.255.255.0 {{ range {first} {last}; }}\n",
        seconds / 2,
        seconds * 3 / 4,
    );
    let config = write(directory, "dhcpd.conf", &text)?;
    let leases = directory.join("dhcpd.leases");
    if !leases.exists() {
        write(directory, "dhcpd.leases", "")?;
    }
    command.args(["-4", "-f", "-d", "--no-pid", "-cf"]).arg(config).arg("-lf").arg(leases).arg(interface);
    Ok(())
}

fn udhcpd(command: &mut Command, scope: &Scope, directory: &Path) -> Result<()> {
    let Scope { interface, first, last, seconds } = scope;
    let leases = directory.join("udhcpd.leases");
    if !leases.exists() {
        write(directory, "udhcpd.leases", "")?;
    }
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write!(
        text,
        "start {first}\nend {last}\ninterface {interface}\nmin_lease 1\nlease_file {}\npidfile {}\nauto_time 1\n\
         opt lease {seconds}\nopt subnet 255.255.255.0\n",
        leases.display(),
        directory.join("udhcpd.pid").display(),
    );
    let path = write(directory, "udhcpd.conf", &text)?;
    command.arg("-f").arg(path);
    Ok(())
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
