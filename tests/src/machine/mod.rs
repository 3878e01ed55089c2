//! Machines with another kernel: QEMU boots it with an image of our own, in which one program tells a story and
//! switches the machine off.
//!
//! QEMU translates instructions rather than use the processor's own virtualisation, which many machines lack and
//! which fails inside some virtual ones. That takes ten times as long, so stories are short.

mod cpio;
pub mod image;
pub mod kernel;
pub mod libvirt;
pub mod story;
pub mod transcript;
pub mod vm;

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::process::Process;
use image::Image;
use kernel::Kernel;
use story::Story;
use transcript::Transcript;

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";

/// How long a machine may be on. A quiet one takes half a minute.
const LIMIT: Duration = Duration::from_secs(600);

/// The variable that asks for tests in their long forms, which machines hear of.
pub const LONG: &str = "LB_LONG";

/// The image, unpacked and packed, and what the story takes.
const MEMORY: &str = "1024M";

/// Boots the kernel with the image, has the story told, and waits until the machine is off. Its files are in `directory`.
///
/// # Errors
/// When the machine can't be started or stays on; the text has what it printed.
pub fn boot(kernel: &Kernel, image: Image, story: Story, directory: &Path) -> Result<Transcript> {
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let (archive, log) = (directory.join("image.cpio"), directory.join("console.log"));
    fs::write(&archive, image.finish()).with_context(|| format!("write {}", archive.display()))?;
    // An earlier machine's words are not this one's.
    fs::write(&log, "").with_context(|| format!("empty {}", log.display()))?;
    let mut command = Command::new(QEMU);
    command
        .args(story.processor())
        .args(["-m", MEMORY, "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio", "-kernel"])
        .arg(kernel.image())
        .arg("-initrd")
        .arg(&archive)
        .args(["-append", &parameters(story)]);
    let mut machine = Process::start(&mut command, log)?;
    let ended = machine.ended(LIMIT);
    fs::remove_file(&archive).with_context(|| format!("remove {}", archive.display()))?;
    let said = machine.log();
    let status = ended.with_context(|| said.clone())?;
    anyhow::ensure!(status.success(), "{QEMU} ended with {status}: {said}");
    Ok(Transcript::new(said))
}

/// The kernel's parameters: it is quiet, gives its variables to the first process, and a panic ends the machine.
fn parameters(story: Story) -> String {
    let long = if env::var_os(LONG).is_some() { format!(" {LONG}=1") } else { String::new() };
    format!(
        "console=ttyS0 quiet panic=-1 mitigations=off rdinit={} PATH=/bin {}{long}",
        image::STORY,
        story.parameter()
    )
}
