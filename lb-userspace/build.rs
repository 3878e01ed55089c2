//! Puts the packet programs where the agent embeds them from.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

fn main() {
    println!("cargo::rerun-if-env-changed=LB_EBPF_OBJECT");
    let object = object();
    println!("cargo::rerun-if-changed={}", object.display());
    if let Err(error) = copy(&object) {
        println!("cargo::error=the packet programs {}: {error}; run `cargo xtask build`", object.display());
        process::exit(1);
    }
}

fn object() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let built = || workspace.join("target/bpf/bpfel-unknown-none/release/lb");
    env::var_os("LB_EBPF_OBJECT").map_or_else(built, PathBuf::from)
}

fn copy(object: &Path) -> Result<u64, String> {
    let directory = env::var_os("OUT_DIR").ok_or("cargo does not say where to put them")?;
    fs::copy(object, Path::new(&directory).join("lb.o")).map_err(|error| error.to_string())
}
