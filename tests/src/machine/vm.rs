//! A VM of a lab's node: Debian's kernel, busybox, and the real guest agent of QEMU, behind a tap.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::QEMU;
use super::image::{Image, MODULES};
use super::kernel::Kernel;
use crate::lab::Lab;
use crate::lab::process::Process;

/// The guest agent.
pub const AGENT: &str = "/usr/sbin/qemu-ga";
/// All other programs of the VM in one, without libraries.
pub const BUSYBOX: &str = "/bin/busybox";
/// The port of the VM's web server. `GET /` is answered with the VM's name; `GET /cgi-bin/stop` ends the server.
pub const PORT: u16 = 8080;

/// The VM's tap on the node, a VM port by its name.
const TAP: &str = "vm9";
/// What its kernel is told.
pub const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off rdinit=/init";
/// What the VM takes.
const MEMORY: &str = "256M";

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    /// What its server answers.
    pub name: &'a str,
    /// The address of its interface, with the prefix's length.
    pub address: &'a str,
    /// The hardware address of its interface.
    pub mac: &'a str,
}

/// A running VM. Dropping it switches it off.
#[derive(Debug)]
pub struct Vm {
    process: Process,
    /// Where its guest agent is asked.
    pub agent: PathBuf,
}

impl Vm {
    /// Connects a tap to the node's bridge and boots the VM behind it; its files are in `directory`.
    ///
    /// # Errors
    /// When the image can't be made or the emulator can't be started.
    pub fn start(lab: &Lab, kernel: &Kernel, spec: Spec<'_>, directory: &Path) -> Result<Self> {
        let archive = write_image(kernel, spec, directory)?;
        let node = lab.node();
        node.ip(&["tuntap", "add", TAP, "mode", "tap"])?;
        node.ip(&["link", "set", TAP, "master", "br0", "up"])?;
        let agent = directory.join("agent.sock");
        let mut command = node.command(QEMU);
        command
            .args(["-accel", "tcg", "-cpu", "max", "-m", MEMORY, "-nographic", "-nodefaults", "-no-reboot"])
            .args(["-serial", "stdio", "-kernel"])
            .arg(kernel.image())
            .arg("-initrd")
            .arg(&archive)
            .args(["-append", COMMAND_LINE])
            .args(["-netdev", &format!("tap,id=net,ifname={TAP},script=no,downscript=no")])
            .args(["-device", &format!("virtio-net-pci,netdev=net,mac={},romfile=", spec.mac)])
            .args(["-chardev", &format!("socket,id=agent,path={},server=on,wait=off", agent.display())])
            .args(["-device", "virtio-serial-pci"])
            .args(["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]);
        let process = Process::start(&mut command, directory.join("console.log"))?;
        Ok(Self { process, agent })
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Switches it off, as a pulled plug does.
    ///
    /// # Errors
    /// When the emulator can't be waited for.
    pub fn kill(self) -> Result<()> {
        self.process.kill()
    }
}

/// Writes what the VM boots, and gives its path.
///
/// # Errors
/// When the image can't be made.
pub fn write_image(kernel: &Kernel, spec: Spec<'_>, directory: &Path) -> Result<PathBuf> {
    let archive = directory.join("image.cpio");
    fs::write(&archive, image(kernel, spec, directory)?.finish())
        .with_context(|| format!("write {}", archive.display()))?;
    Ok(archive)
}

/// Why there can be no VM here.
pub fn missing() -> Option<String> {
    if let Err(error) = Command::new(QEMU).arg("--version").output() {
        return Some(format!("no {QEMU}: {error}"));
    }
    let program = [AGENT, BUSYBOX].into_iter().find(|program| !Path::new(program).exists());
    program.map(|program| format!("no {program}: run `cargo xtask setup`"))
}

fn image(kernel: &Kernel, spec: Spec<'_>, directory: &Path) -> Result<Image> {
    let mut image = Image::with_programs(&[], directory)?.with_tool("qemu-ga")?.with_tool("busybox")?;
    let mut modules = String::new();
    for module in kernel.of_vm()? {
        let inside = format!("{MODULES}/{}", module.file_name().unwrap_or_default().to_string_lossy());
        modules.push_str(&format!("insmod {inside}\n"));
        image = image.with_file(&module, &inside)?;
    }
    let (init, stop, index) = (directory.join("init"), directory.join("stop"), directory.join("index.html"));
    fs::write(&init, first_process(&modules, spec)).context("write the VM's first process")?;
    fs::write(&stop, "#!/bin/sh\nexec /bin/busybox killall httpd\n").context("write what ends the server")?;
    fs::write(&index, format!("{}\n", spec.name)).context("write the server's page")?;
    image
        .with_file(&init, "/init")?
        .with_file(&stop, "/www/cgi-bin/stop")?
        .with_file(&index, "/www/index.html")
}

/// The port of the agent has a name only in sysfs: nobody makes links by names here.
fn first_process(modules: &str, Spec { address, .. }: Spec<'_>) -> String {
    format!(
        "#!/bin/sh
busybox mkdir -p /bin /proc /sys /dev /run /var/run
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
{modules}
ip link set lo up
ip link set eth0 up
ip address add {address} dev eth0
httpd -p {PORT} -h /www
for port in /sys/class/virtio-ports/*; do
    if grep -q org.qemu.guest_agent.0 $port/name; then
        qemu-ga --method virtio-serial --path /dev/$(basename $port) &
    fi
done
echo ready
while true; do sleep 1000; done
"
    )
}
