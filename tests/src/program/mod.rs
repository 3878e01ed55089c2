//! One program, one packet: `BPF_PROG_TEST_RUN` on programs with maps of their own.
//!
//! [`given`] describes what the agent would have written, [`Given::at`] loads the programs over it, and the
//! [`Rig`] that comes out runs packets: `rig.when(&packet).then(Verdict::Pass, &expected)`. All frames enter
//! and leave through the loopback interface's index, [`INTERFACE`].

mod blank;
mod events;
mod flows;
mod given;
mod hook;
mod object;
mod policy;
mod pool;
mod rig;
mod shape;
mod values;

pub use events::told_flow;
pub use given::{Given, given};
pub use hook::{Hook, Verdict};
pub use object::{OBJECT, Programs, Sizes, bench_object, object_files};
pub use policy::UNLIMITED;
pub use rig::{Outcome, Rig};
pub use shape::{HASH_OVERHEAD, MapShape, ProgramShape};
pub use values::{Backend, Listener, Port, backend, listener, uplink, vm_port};

/// The interface at which test runs happen unless they say otherwise: the loopback interface of the network
/// namespace.
pub const INTERFACE: u32 = 1;
