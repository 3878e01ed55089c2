//! libvirt's daemon with a root directory of its own, as far as it writes there, on a lab's node.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::QEMU;
use super::kernel::Kernel;
use super::vm::{COMMAND_LINE, Spec};
use crate::lab::namespace::Namespace;
use crate::lab::process::Process;
use crate::lab::wait;

/// What Debian's packages bring.
const PROGRAMS: [&str; 3] = [
    "/usr/sbin/libvirtd",
    "/usr/bin/virsh",
    "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
];

/// The daemon's directories are empty and its users are root. As the first process of its namespace, the shell ends
/// everything that the daemon has started when it ends, and until then reaps it.
const START: &str = "#!/bin/sh
set -e
mount --make-rprivate /
for directory in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /run/libvirt; do
    mkdir -p $directory
    mount -t tmpfs tmpfs $directory
done
for file in passwd group; do
    (cat /etc/$file; echo 'libvirt-qemu:x:0:0::/:/bin/false'; echo 'kvm:x:0:') > $1/$file
    mount --bind $1/$file /etc/$file
done
cp $1/qemu.conf /etc/libvirt
libvirtd --config $1/libvirtd.conf --pid-file $1/libvirtd.pid &
wait
";

const QEMU_CONFIGURATION: &str = "security_driver = \"none\"
user = \"root\"
group = \"root\"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = \"file\"
";

/// A running daemon. Dropping it ends it, and its domains.
#[derive(Debug)]
pub struct Libvirt {
    process: Process,
    directory: PathBuf,
}

impl Libvirt {
    /// Why there can be none here.
    pub fn missing() -> Option<String> {
        let program = PROGRAMS.into_iter().find(|program| !Path::new(program).exists());
        program.map(|program| format!("no {program}: run `cargo xtask setup`"))
    }

    /// Starts it in the node's network; its files are in `directory`.
    ///
    /// # Errors
    /// When it does not come up; the text has its log.
    pub fn start(node: &Namespace, directory: &Path) -> Result<Self> {
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        write("start", START)?;
        write("qemu.conf", QEMU_CONFIGURATION)?;
        let settings = format!(
            "unix_sock_dir = \"{}\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\nlog_outputs = \"3:stderr\"\n",
            directory.display()
        );
        write("libvirtd.conf", &settings)?;
        let mut command = node.command("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh"]);
        command.arg(directory.join("start")).arg(directory);
        let process = Process::start(&mut command, directory.join("libvirtd.log"))?;
        let mut libvirt = Self { process, directory: directory.to_owned() };
        wait::until("libvirt's daemon answers", Duration::from_mins(1), || {
            UnixStream::connect(libvirt.socket()).is_ok() || !libvirt.process.is_running()
        })
        .with_context(|| libvirt.process.log())?;
        ensure!(libvirt.process.is_running(), "libvirt's daemon has ended: {}", libvirt.process.log());
        Ok(libvirt)
    }

    /// Where it is asked.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("libvirt-sock")
    }

    /// Runs `virsh ARGUMENTS`.
    ///
    /// # Errors
    /// When it fails; the text has what it and the daemon say.
    pub fn virsh(&self, arguments: &[&str]) -> Result<String> {
        let uri = format!("qemu+unix:///system?socket={}", self.socket().display());
        let output = Command::new("virsh")
            .args(["--connect", &uri])
            .args(arguments)
            .output()
            .context("start virsh")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("virsh {}: {said}; the daemon says {}", arguments.join(" "), self.process.log());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Defines a domain that boots this image, with an interface in the node's bridge. It does not run yet.
    ///
    /// # Errors
    /// When it can't be defined.
    pub fn define(&self, kernel: &Kernel, image: &Path, spec: Spec<'_>) -> Result<()> {
        let emulator = [Path::new("/usr/bin"), Path::new("/usr/local/bin")]
            .into_iter()
            .map(|directory| directory.join(QEMU))
            .find(|path| path.exists())
            .context("find QEMU")?;
        let xml = format!(
            "<domain type='qemu'>
  <name>{}</name>
  <memory unit='MiB'>256</memory>
  <cpu mode='maximum'/>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{}</kernel><initrd>{}</initrd><cmdline>{COMMAND_LINE}</cmdline>
  </os>
  <devices>
    <emulator>{}</emulator>
    <interface type='bridge'>
      <mac address='{}'/><source bridge='br0'/><target dev='vm9'/><model type='virtio'/><rom enabled='no'/>
    </interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <serial type='file'><source path='{}'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
",
            spec.name,
            kernel.image().display(),
            image.display(),
            emulator.display(),
            spec.mac,
            self.directory.join("console.log").display(),
        );
        let path = self.directory.join("domain.xml");
        fs::write(&path, xml).with_context(|| format!("write {}", path.display()))?;
        self.virsh(&["define", &path.to_string_lossy()]).map(drop)
    }

    /// What its domain and itself have said.
    pub fn log(&self) -> String {
        let console = fs::read_to_string(self.directory.join("console.log")).unwrap_or_default();
        format!("{console}\n{}", self.process.log())
    }
}
