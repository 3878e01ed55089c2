//! Ring 4: the agent and its packet programs on other kernels, in machines that QEMU emulates.

mod instructions;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lb_tests::lab::agent;
use lb_tests::machine::image::Image;
use lb_tests::machine::kernel::Kernel;
use lb_tests::machine::story::Story;
use lb_tests::machine::{self, QEMU};
use lb_tests::skip::skip;

/// Where machines have their files.
fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernels").join(name)
}

/// What is the same on all machines.
fn image() -> Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    let build = || {
        let (guest, dial) = (Path::new(env!("CARGO_BIN_EXE_guest")), Path::new(env!("CARGO_BIN_EXE_dial")));
        Image::with_programs(&[guest, dial, &agent::binary().unwrap()], &directory("programs")).unwrap()
    };
    IMAGE.get_or_init(build).clone()
}

/// Has the story told on the kernel of a series, which attaches tc programs in this way.
fn story_on(series: &str, tc: &str) {
    if let Err(error) = Command::new(QEMU).arg("--version").output() {
        return skip(&format!("no {QEMU}: {error}"));
    }
    let kernel = match Kernel::find(series) {
        Ok(kernel) => kernel,
        Err(reason) => return skip(&reason),
    };
    let image = image().with_modules(&kernel).unwrap();
    let transcript = machine::boot(&kernel, image, Story::Balance, &directory(series)).unwrap();
    transcript.passed();
    let release = transcript.value("kernel").unwrap();
    assert!(release.starts_with(&format!("{series}.")), "this is {release}");
    let hook = |interface: &str| transcript.value(interface).unwrap();
    assert!(hook("up0").starts_with("xdp, "), "up0: {}", hook("up0"));
    assert!(hook("vm1").ends_with(&format!("by {tc}")), "vm1: {}", hook("vm1"));
}

#[test]
fn the_programs_load_and_balance_on_linux_6_1() {
    story_on("6.1", "clsact");
}

#[test]
fn the_programs_load_and_balance_on_linux_6_12() {
    story_on("6.12", "tcx");
}
