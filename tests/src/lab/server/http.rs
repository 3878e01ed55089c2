//! nginx, which answers with its VM's name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::wait;

/// The port of the servers.
pub const PORT: u16 = 8080;

/// A running nginx. `GET /` answers with the VM's name, `GET /files/NAME` with a file of the lab.
#[derive(Debug)]
pub struct Http {
    process: Process,
    access: PathBuf,
}

impl Http {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(vm: &Namespace, name: &str, directory: &Path, files: &Path) -> Result<Self> {
        Self::launch(vm, name, directory, files, true)
    }

    /// As [`Http::start`], without a log of who has asked: it answers millions.
    ///
    /// # Errors
    /// As there.
    pub fn start_without_log(vm: &Namespace, name: &str, directory: &Path) -> Result<Self> {
        Self::launch(vm, name, directory, directory, false)
    }

    fn launch(vm: &Namespace, name: &str, directory: &Path, files: &Path, logs: bool) -> Result<Self> {
        let own = directory.join(format!("nginx-{name}"));
        fs::create_dir_all(&own).with_context(|| format!("create {}", own.display()))?;
        let path = own.join("nginx.conf");
        fs::write(&path, configuration(name, &own, files, logs))
            .with_context(|| format!("write {}", path.display()))?;
        let mut command = vm.command("nginx");
        command.arg("-p").arg(&own).arg("-c").arg(&path).args(["-e", "error.log"]);
        let mut process = Process::start(&mut command, own.join("output.log"))?;
        let running = wait::until(&format!("nginx of {name} listens"), Duration::from_secs(10), || {
            is_listening(vm, PORT) || !process.is_running()
        });
        running.with_context(|| process.log())?;
        anyhow::ensure!(process.is_running(), "nginx of {name} has ended: {}", process.log());
        Ok(Self { process, access: own.join("access.log") })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The addresses from which it was asked, one for each request.
    ///
    /// # Errors
    /// When its log can't be read.
    pub fn clients(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(&self.access).context("read the access log")?;
        Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
    }

    /// Kills it: its port refuses connections from now on.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub fn kill(self) -> Result<()> {
        self.process.kill()
    }
}

/// Whether something listens on a TCP port of IPv6 in a namespace; our servers listen on that of IPv4 by then,
/// or with the same socket. Asks the kernel: a probing connection would be
/// a request of its own in the counts.
pub fn is_listening(namespace: &Namespace, port: u16) -> bool {
    let table = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/tcp6"));
    let end = format!(":{port:04X}");
    // Local address, remote address, state; 0A is LISTEN.
    table.ok().and_then(Result::ok).is_some_and(|text| {
        text.lines().any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&end)) && fields.nth(1) == Some("0A")
        })
    })
}

fn configuration(name: &str, own: &Path, files: &Path, logs: bool) -> String {
    let log = if logs { format!("{}/access.log", own.display()) } else { "off".to_owned() };
    let (own, files) = (own.display(), files.display());
    format!(
        "daemon off;
master_process off;
pid {own}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log {log};
    client_body_temp_path {own};
    proxy_temp_path {own};
    fastcgi_temp_path {own};
    uwsgi_temp_path {own};
    scgi_temp_path {own};
    server {{
        listen {PORT} backlog=4096;
        listen [::]:{PORT} backlog=4096 ipv6only=on;
        location / {{ default_type text/plain; return 200 \"{name}\\n\"; }}
        location /files/ {{ alias {files}/; }}
    }}
}}
"
    )
}
