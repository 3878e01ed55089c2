//! What goes wrong between the agent and the kernel.

use std::io;
use std::path::PathBuf;

use super::shape::Difference;

/// A failed operation on the packet programs or their maps.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The flow table's protocol needs the memory order of x86.
    #[error("this CPU is {0}; the packet programs are safe on x86-64 only, so far")]
    UnsupportedCpu(&'static str),
    /// No BPF file system could be mounted.
    #[error(
        "mount the BPF file system on {path}: {source}; run as root, or mount it with `mount -t bpf bpf {path}`"
    )]
    MountBpffs {
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The pin directory is elsewhere.
    #[error("pinDirectory: {0} is not on a BPF file system; choose a directory below /sys/fs/bpf")]
    NotOnBpffs(PathBuf),
    /// A file or directory of the pin directory.
    #[error("{operation} {path}: {source}")]
    Pin {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A pinned map has another shape than the one that the programs would create.
    #[error(
        "pinned map {path} has another shape: {difference}; \
         put the old setting back, or remove all pinned state with `lb agent --detach` (this ends all flows)"
    )]
    Shape {
        /// The map's pin.
        path: PathBuf,
        /// What differs.
        difference: Difference,
    },
    /// The embedded object can't be read.
    #[error("the embedded packet programs can't be read: {0}; build again with `cargo xtask build`")]
    Object(#[from] aya_obj::ParseError),
    /// A map or a program that the agent needs is not in the object.
    #[error("the embedded packet programs lack {0}; build again with `cargo xtask build`")]
    Lacking(&'static str),
    /// The kernel refused a map or the object.
    #[error("load the packet programs: {}", chain(.0))]
    Load(#[from] aya::EbpfError),
    /// The kernel refused a program.
    #[error("load program {name}: {}", chain(.source))]
    Program {
        /// Its name.
        name: &'static str,
        /// The kernel's answer, with the verifier's words.
        source: aya::programs::ProgramError,
    },
    /// The kernel refused to run a test packet.
    #[error("run a test packet through {program}: {}", chain(.source))]
    TestRun {
        /// The program's name.
        program: &'static str,
        /// The kernel's answer.
        source: aya::programs::ProgramError,
    },
    /// A map could not be read or written.
    #[error("{operation} {map}: {}", chain(.source))]
    Map {
        /// What was done.
        operation: &'static str,
        /// The map's name.
        map: &'static str,
        /// The kernel's answer.
        source: aya::maps::MapError,
    },
    /// A map could not be read or written in one go.
    #[error("{operation} {map}: {source}")]
    Batch {
        /// What was done.
        operation: &'static str,
        /// The map's name.
        map: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel has no random numbers.
    #[error("read random numbers: {0}")]
    Random(io::Error),
    /// A table that does not fit into MAGLEV.
    #[error("a Maglev table of {slots} slots does not fit; the programs were built for up to {room}")]
    TableSize {
        /// Slots asked for.
        slots: usize,
        /// Slots that fit.
        room: usize,
    },
    /// An interface index past the end of PORTS.
    #[error("interface {name} has index {ifindex}; only indices below {limit} can be served")]
    InterfaceIndex {
        /// Its name.
        name: String,
        /// Its index.
        ifindex: u32,
        /// The size of PORTS.
        limit: u32,
    },
    /// A program could not be attached.
    #[error("attach {program} to {interface}: {}", chain(.source))]
    Attach {
        /// The program's name.
        program: &'static str,
        /// The interface's name.
        interface: String,
        /// The kernel's answer.
        source: aya::programs::ProgramError,
    },
    /// Somebody else's XDP program is in the way.
    #[error(
        "interface {interface} runs another XDP program, {owner}; {remedy}, or set hooks: {{{interface}: tc}}"
    )]
    ForeignXdp {
        /// The interface's name.
        interface: String,
        /// The program's name and id, as far as they are known.
        owner: String,
        /// How to remove it.
        remedy: String,
    },
    /// The driver refuses XDP.
    #[error("interface {interface} refuses XDP ({refusal}): {remedy}; or set hooks: {{{interface}: tc}}")]
    XdpRefused {
        /// The interface's name.
        interface: String,
        /// The kernel's answer.
        refusal: String,
        /// What it means, and what to do.
        remedy: String,
    },
    /// A device on which native XDP can't be.
    #[error("interface {interface} has no native XDP: {why}; set hooks: {{{interface}: tc}}")]
    WithoutNativeXdp {
        /// The interface's name.
        interface: String,
        /// Why not.
        why: &'static str,
    },
    /// A program that was pinned can't be opened.
    #[error("open the pinned program {path}: {}; a restart of the agent puts it back", chain(source))]
    Pinned {
        /// Its pin.
        path: PathBuf,
        /// The kernel's answer.
        source: aya::programs::ProgramError,
    },
    /// A link could not be pinned or taken over.
    #[error("pin {path}: {}", chain(.source.as_ref()))]
    Link {
        /// Its pin.
        path: PathBuf,
        /// The kernel's answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An error with its causes: aya's own texts often leave the operating system's answer to the source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    shortened(&text)
}

/// The first line and the last ones: a refused program comes with megabytes of the verifier's thoughts, and the
/// reason stands at their end.
fn shortened(text: &str) -> String {
    const LAST: usize = 12;
    let lines: Vec<&str> = text.lines().collect();
    match lines.as_slice() {
        [first, middle @ ..] if middle.len() > LAST => {
            let (left_out, last) = middle.split_at(middle.len() - LAST);
            format!("{first}\n[{} lines left out]\n{}", left_out.len(), last.join("\n"))
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(shortened("refused: no memory"), "refused: no memory");
        let long: String = (0..1000).map(|line| line.to_string() + "\n").collect();
        let short = shortened(&long);
        assert!(short.starts_with("0\n[987 lines left out]\n988\n") && short.ends_with("\n999"), "{short}");
    }
}
