//! How each make is told what to lend.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Scope, Terms};

pub(super) fn dnsmasq(command: &mut Command, scope: &Scope, directory: &Path) {
    let Scope { interface, first, last, terms: Terms { renew, rebind, end } } = scope;
    command
        .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file="])
        .args(["--log-facility=-", "--log-dhcp", "--bind-interfaces"])
        .arg(format!("--interface={interface}"))
        .args(["--dhcp-authoritative", "--dhcp-sequential-ip", "--no-ping"])
        .arg(format!("--dhcp-leasefile={}", directory.join("leases").display()))
        .arg(format!("--dhcp-option=option:T1,{renew}"))
        .arg(format!("--dhcp-option=option:T2,{rebind}"))
        .arg(format!("--dhcp-range={first},{last},255.255.255.0,{end}"));
}

pub(super) fn kea(command: &mut Command, scope: &Scope, directory: &Path) -> Result<()> {
    let Scope { interface, first, last, terms: Terms { renew, rebind, end } } = scope;
    let network = scope.network();
    let leases = directory.join("leases.csv");
    let text = format!(
        r#"{{"Dhcp4": {{
  "interfaces-config": {{"interfaces": ["{interface}"], "dhcp-socket-type": "raw"}},
  "lease-database": {{"type": "memfile", "persist": true, "name": "{}", "lfc-interval": 0}},
  "valid-lifetime": {end}, "renew-timer": {renew}, "rebind-timer": {rebind},
  "authoritative": true,
  "subnet4": [{{"subnet": "{network}/24", "pools": [{{"pool": "{first} - {last}"}}]}}],
  "loggers": [{{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{{"output": "stdout"}}]}}]
}}}}
"#,
        leases.display(),
    );
    let path = write(directory, "kea.json", &text)?;
    command.env("KEA_PIDFILE_DIR", directory).env("KEA_LOCKFILE_DIR", directory).arg("-c").arg(path);
    Ok(())
}

pub(super) fn isc(command: &mut Command, scope: &Scope, directory: &Path) -> Result<()> {
    let Scope { interface, first, last, terms: Terms { renew, rebind, end } } = scope;
    let network = scope.network();
    let text = format!(
        "authoritative;\nping-check false;\none-lease-per-client true;\ndhcp-cache-threshold 0;\n\
         default-lease-time {end};\nmax-lease-time {end};\nmin-lease-time {end};\n\
         option dhcp-renewal-time {renew};\noption dhcp-rebinding-time {rebind};\n\
         subnet {network} netmask 255.255.255.0 {{ range {first} {last}; }}\n",
    );
    let config = write(directory, "dhcpd.conf", &text)?;
    let leases = directory.join("dhcpd.leases");
    if !leases.exists() {
        write(directory, "dhcpd.leases", "")?;
    }
    command.args(["-4", "-f", "-d", "--no-pid", "-cf"]).arg(config).arg("-lf").arg(leases).arg(interface);
    Ok(())
}

pub(super) fn udhcpd(command: &mut Command, scope: &Scope, directory: &Path) -> Result<()> {
    let Scope { interface, first, last, terms: Terms { renew, rebind, end } } = scope;
    let leases = directory.join("udhcpd.leases");
    if !leases.exists() {
        write(directory, "udhcpd.leases", "")?;
    }
    let mut text = String::new();
    // Writing to a string can't fail.
    let _ = write!(
        text,
        "start {first}\nend {last}\ninterface {interface}\nmin_lease 1\nlease_file {}\npidfile {}\nauto_time 1\n\
         opt lease {end}\nopt subnet 255.255.255.0\nopt 58 {renew:08x}\nopt 59 {rebind:08x}\n",
        leases.display(),
        directory.join("udhcpd.pid").display(),
    );
    let path = write(directory, "udhcpd.conf", &text)?;
    // As the others, it looks for nobody by ARP: that is the client's to find out.
    command.args(["-f", "-a", "0"]).arg(path);
    Ok(())
}

fn write(directory: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
