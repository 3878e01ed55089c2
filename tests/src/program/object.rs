//! The programs as they were built, loaded with maps of their own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use aya::maps::{Array, MapError, ProgramArray};
use aya::programs::{Program, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use lb_common::map::{self, program};
use lb_common::observe::{BY_CLIENT, BY_PORT, BY_VIP, CaptureFilter, FILTER, OBSERVE, TRACE};
use lb_common::stage::Stage;

use super::Hook;

/// The variable that names another object file.
pub const OBJECT: &str = "LB_EBPF_OBJECT";

/// Sizes of the maps that tests make small, to be quick and to see them full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// Of the flow table.
    pub buckets: u32,
    /// Entries of the overflow map.
    pub overflow: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        // Each CPU takes 128 free entries of an LRU hash at a time, on older kernels also of one that has no more.
        Self { buckets: 64, overflow: 4096 }
    }
}

/// The loaded object. A program is handed to the kernel when it is first asked for.
pub struct Programs {
    pub(super) ebpf: Ebpf,
}

impl Programs {
    /// Creates the maps.
    ///
    /// # Errors
    /// Says why tests can't have BPF here.
    ///
    /// # Panics
    /// When they can, but the object is missing or broken.
    pub fn load(sizes: Sizes) -> Result<Self, String> {
        Self::permitted()?;
        Ok(Self::with(loader_for(sizes)))
    }

    /// As [`Programs::load`], noting decisions as `lb trace` has them noted.
    ///
    /// # Errors
    /// Says why tests can't have BPF here.
    ///
    /// # Panics
    /// When they can, but the object is missing or broken.
    pub fn tracing(sizes: Sizes) -> Result<Self, String> {
        Self::permitted()?;
        let mut loader = loader_for(sizes);
        loader.override_global(OBSERVE, &TRACE, true);
        Ok(Self::with(loader))
    }

    /// As `lb trace` and `lb capture` load them: with bits of [`lb_common::observe`].
    ///
    /// # Errors
    /// Says why tests can't have BPF here.
    ///
    /// # Panics
    /// When they can, but the object is missing or broken.
    pub fn observing(bits: u32) -> Result<Self, String> {
        Self::permitted()?;
        let mut loader = loader();
        let filter = CaptureFilter { flags: BY_VIP | BY_CLIENT | BY_PORT, ..CaptureFilter::default() };
        loader.override_global(OBSERVE, &bits, true).override_global(FILTER, &filter, true);
        Ok(Self::with(loader))
    }

    /// Creates the maps in the sizes that the agent takes by default.
    ///
    /// # Errors
    /// Says why tests can't have BPF here.
    ///
    /// # Panics
    /// When they can, but the object is missing or broken.
    pub fn in_default_sizes() -> Result<Self, String> {
        Self::permitted()?;
        Ok(Self::with(loader()))
    }

    fn with(mut loader: EbpfLoader<'_>) -> Self {
        Self { ebpf: loader.load(&bytes()).expect("load the object's maps") }
    }

    /// Tries whether the kernel lets this process have a map.
    ///
    /// # Errors
    /// Says why not.
    pub fn permitted() -> Result<(), String> {
        match Array::<_, u32>::create(1, 0) {
            Ok(_) => Ok(()),
            Err(MapError::CreateError { io_error, .. }) => {
                Err(format!("no BPF map can be created: {io_error}"))
            }
            Err(error) => Err(format!("no BPF map can be created: {error}")),
        }
    }

    /// The attached program of a hook, loaded with all its stages.
    ///
    /// # Panics
    /// When the verifier refuses one.
    pub fn program(&mut self, hook: Hook) -> &mut Program {
        self.load_stages(hook, |_| true);
        self.named(hook.program())
    }

    /// The attached program of a hook, loaded with the stages that this frame may come to: to load all takes ten
    /// times as long as most tests.
    ///
    /// # Panics
    /// When the verifier refuses one.
    pub fn program_for(&mut self, hook: Hook, frame: &[u8]) -> &mut Program {
        let kinds = [12, 16, 20].map(|at| frame.get(at..at + 2).unwrap_or_default());
        let is_tagged = matches!(kinds[0], [0x81, 0x00] | [0x88, 0xa8]);
        let (has_v4, has_v6) = (kinds.contains(&&[0x08, 0x00][..]), kinds.contains(&&[0x86, 0xdd][..]));
        self.load_stages(hook, |stage| match stage {
            Stage::Arrive => true,
            Stage::Tagged => is_tagged || has_v4,
            Stage::StartV4 | Stage::OpenV4 | Stage::RefuseV4 | Stage::ControlV4 | Stage::FragmentV4 => has_v4,
            Stage::FollowV6 | Stage::OpenV6 | Stage::RefuseV6 | Stage::ControlV6 | Stage::FragmentV6 => {
                has_v6
            }
        });
        self.named(hook.program())
    }

    /// A program by its name.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(&mut self, name: &str) -> &mut Program {
        self.ebpf.program_mut(name).unwrap_or_else(|| panic!("no program {name}"))
    }

    fn load_stages(&mut self, hook: Hook, wanted: impl Fn(Stage) -> bool) {
        let array = hook.stages();
        for &(_, stage, name) in program::STAGES.iter().filter(|(of, ..)| *of == array) {
            if !wanted(stage) || self.named(name).fd().is_ok() {
                continue;
            }
            let program = self.ebpf.program_mut(name).unwrap_or_else(|| panic!("no program {name}"));
            let loaded = match program {
                Program::Xdp(xdp) => xdp.load(),
                Program::SchedClassifier(tc) => tc.load(),
                _ => panic!("{name} is neither an XDP nor a tc program"),
            };
            loaded.unwrap_or_else(|error| panic!("load {name}: {error:#?}"));
            let fd = program.fd().expect("a loaded program").try_clone().expect("another descriptor");
            let map = self.ebpf.map_mut(array).unwrap_or_else(|| panic!("no map {array}"));
            let mut stages = ProgramArray::try_from(map).expect("an array of programs");
            stages.set(stage as u32, &fd, 0).unwrap_or_else(|error| panic!("enter {name}: {error}"));
        }
    }

    /// A program for the node's own processes, loaded.
    ///
    /// # Panics
    /// When there is none of this name, or the verifier refuses it.
    pub fn socket_program(&mut self, name: &str) -> &mut Program {
        let program = self.ebpf.program_mut(name).unwrap_or_else(|| panic!("no program {name}"));
        match program {
            Program::CgroupSockAddr(socket) if socket.fd().is_err() => {
                socket.load().unwrap_or_else(|error| panic!("load {name}: {error:#?}"));
            }
            Program::CgroupSockAddr(_) => {}
            _ => panic!("{name} is not attached to cgroups"),
        }
        program
    }

    /// The maps by name.
    pub fn maps(&self) -> impl Iterator<Item = (&str, &aya::maps::Map)> {
        self.ebpf.maps()
    }
}

/// A loaded program, by kind.
pub(super) enum Loaded<'a> {
    Xdp(&'a mut Xdp),
    Tc(&'a mut SchedClassifier),
}

impl<'a> From<&'a mut Program> for Loaded<'a> {
    fn from(program: &'a mut Program) -> Self {
        match program {
            Program::Xdp(xdp) => Self::Xdp(xdp),
            Program::SchedClassifier(tc) => Self::Tc(tc),
            _ => panic!("neither an XDP nor a tc program"),
        }
    }
}

/// Without the verifier's walk through a program that it refuses, which may be gigabytes: its last words do.
fn loader() -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    loader.verifier_log_level(VerifierLogLevel::STATS);
    loader
}

/// For maps of these sizes.
fn loader_for(sizes: Sizes) -> EbpfLoader<'static> {
    let mut loader = loader();
    loader
        .map_max_entries(map::FLOWS_V4, sizes.buckets)
        .map_max_entries(map::FLOWS_V6, sizes.buckets)
        .map_max_entries(map::OVERFLOW_V4, sizes.overflow)
        .map_max_entries(map::OVERFLOW_V6, sizes.overflow)
        .map_max_entries(map::MAGLEV, 8)
        .map_max_entries(map::VIPS_V4, 16)
        .map_max_entries(map::VIPS_V6, 16)
        .map_max_entries(map::LISTENERS_V4, 16)
        .map_max_entries(map::LISTENERS_V6, 16)
        .map_max_entries(map::LISTENER_STATS, 8)
        .map_max_entries(map::LISTENER_PASTS, 8)
        .map_max_entries(map::BACKEND_STATS, 64)
        .map_max_entries(map::BACKENDS, 64);
    loader
}

fn bytes() -> Vec<u8> {
    read(&path())
}

/// The object with the benchmarks' programs, which is built beside that of the packet programs.
///
/// # Panics
/// When it can't be read.
pub fn bench_object() -> Vec<u8> {
    read(&beside())
}

/// The files of both objects.
pub fn object_files() -> [PathBuf; 2] {
    [path(), beside()]
}

fn beside() -> PathBuf {
    path().with_file_name("bench")
}

fn path() -> PathBuf {
    env::var_os(OBJECT).map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/bpf/bpfel-unknown-none/release/lb"),
        PathBuf::from,
    )
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask build`", path.display()))
}
