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

fn copy(object: &Path) -> Result<(), String> {
    let directory = env::var_os("OUT_DIR").ok_or("cargo does not say where to put them")?;
    let object = fs::read(object).map_err(|error| error.to_string())?;
    let embedded = without_dwarf(&object).unwrap_or_else(|| {
        println!("cargo::warning=the packet programs are embedded with what they hold for debuggers");
        object
    });
    fs::write(Path::new(&directory).join("lb.o"), embedded).map_err(|error| error.to_string())
}

/// What only debuggers read is four fifths of the object, and the agent would go through it at every start. Its
/// sections stay, empty, since others are named by their index. `None` for what is no such object.
fn without_dwarf(object: &[u8]) -> Option<Vec<u8>> {
    /// ELF of 64 bits, little-endian.
    const MAGIC: &[u8] = b"\x7fELF\x02\x01";
    const HEADER: usize = 64;
    // Types of sections.
    const NONE: usize = 0;
    const NO_CONTENTS: usize = 8;

    if !object.starts_with(MAGIC) {
        return None;
    }
    let (start, length) = (number(object, 0x28, 8)?, number(object, 0x3a, 2)?);
    let (count, names) = (number(object, 0x3c, 2)?, number(object, 0x3e, 2)?);
    let section = |index| object.get(start + index * length..)?.get(..length);
    let names = contents(object, section(names)?)?;
    let (mut kept, mut sections) = (object.get(..HEADER)?.to_vec(), Vec::new());
    for index in 0..count {
        let mut header = section(index)?.to_vec();
        let name = names.get(number(&header, 0, 4)?..)?;
        if name.starts_with(b".debug_") || name.starts_with(b".rel.debug_") {
            put(&mut header, TYPE, 4, NONE)?;
            put(&mut header, OFFSET, 8, 0)?;
            put(&mut header, SIZE, 8, 0)?;
        } else if ![NONE, NO_CONTENTS].contains(&number(&header, TYPE, 4)?) {
            let contents = contents(object, &header)?;
            kept.resize(kept.len().next_multiple_of(number(&header, ALIGNMENT, 8)?.max(1)), 0);
            put(&mut header, OFFSET, 8, kept.len())?;
            kept.extend_from_slice(contents);
        }
        sections.extend(header);
    }
    kept.resize(kept.len().next_multiple_of(8), 0);
    let start = kept.len();
    put(&mut kept, 0x28, 8, start)?;
    kept.extend(sections);
    Some(kept)
}

/// Where a section's header has them.
const TYPE: usize = 0x04;
const OFFSET: usize = 0x18;
const SIZE: usize = 0x20;
const ALIGNMENT: usize = 0x30;

fn contents<'a>(object: &'a [u8], header: &[u8]) -> Option<&'a [u8]> {
    object.get(number(header, OFFSET, 8)?..)?.get(..number(header, SIZE, 8)?)
}

fn number(bytes: &[u8], place: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(place..)?.get(..length)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn put(bytes: &mut [u8], place: usize, length: usize, number: usize) -> Option<()> {
    let place = bytes.get_mut(place..)?.get_mut(..length)?;
    place.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, new)| *byte = new);
    Some(())
}
