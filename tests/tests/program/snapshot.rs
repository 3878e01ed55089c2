//! Sizes that are in git, so that a change of them is seen: `snapshots/programs.json`. Where it is meant to
//! change, `LB_UPDATE_SNAPSHOTS=1` writes it anew.
//!
//! What the verifier counts and how it rewrites a program differs from kernel to kernel, so those numbers are
//! compared only where they were taken. The ceiling holds everywhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use lb_common::observe::{CAPTURE, TRACE};
use lb_tests::program::{MapShape, ProgramShape, Programs};
use lb_tests::skip::skip;
use serde::{Deserialize, Serialize};

/// A tenth of what the verifier puts up with, so that older kernels and new features have room.
const CEILING: u32 = 100_000;

#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    /// Major and minor version of the kernel that counted.
    kernel: String,
    programs: BTreeMap<String, ProgramShape>,
    maps: BTreeMap<String, MapShape>,
    /// Of all maps together, per-CPU ones counted once.
    map_bytes: u64,
}

impl Snapshot {
    fn take(loaded: &mut Programs) -> Self {
        let programs = loaded.program_shapes();
        let maps = loaded.map_shapes();
        Self { kernel: kernel(), programs, map_bytes: maps.values().map(|map| map.bytes).sum(), maps }
    }

    /// As it is in git; written first where that is asked for.
    fn recorded(now: &Self) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/programs.json");
        if env::var_os("LB_UPDATE_SNAPSHOTS").is_some() {
            let text = serde_json::to_string_pretty(now).expect("a snapshot as JSON");
            fs::write(&path, text + "\n").expect("write the snapshot");
        }
        let text = fs::read_to_string(&path).expect("read the snapshot");
        serde_json::from_str(&text).expect("the snapshot's JSON")
    }
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

#[test]
fn programs_and_maps_are_as_recorded() {
    let mut loaded = match Programs::in_default_sizes() {
        Ok(loaded) => loaded,
        Err(reason) => return skip(&reason),
    };
    let now = Snapshot::take(&mut loaded);
    let recorded = Snapshot::recorded(&now);
    let remedy = "if this is meant, run with LB_UPDATE_SNAPSHOTS=1 and commit tests/snapshots/programs.json";
    assert_eq!(now.maps, recorded.maps, "{remedy} (left: now, right: recorded)");
    assert_eq!(now.map_bytes, recorded.map_bytes, "{remedy}");
    if now.kernel == recorded.kernel {
        assert_eq!(now.programs, recorded.programs, "{remedy} (left: now, right: recorded)");
    } else {
        skip(&format!("programs were counted by kernel {}, this is {}", recorded.kernel, now.kernel));
    }
}

#[test]
fn observing_programs_stay_below_the_same_ceiling() {
    for bits in [TRACE, CAPTURE] {
        let mut loaded = match Programs::observing(bits) {
            Ok(loaded) => loaded,
            Err(reason) => return skip(&reason),
        };
        for (name, shape) in loaded.program_shapes() {
            let verified = shape.verified_instructions;
            assert!(verified <= CEILING, "{name}: {verified} verified instructions, {CEILING} at most");
        }
    }
}

#[test]
fn no_program_comes_near_what_the_verifier_puts_up_with() {
    let mut loaded = match Programs::in_default_sizes() {
        Ok(loaded) => loaded,
        Err(reason) => return skip(&reason),
    };
    for (name, shape) in loaded.program_shapes() {
        let verified = shape.verified_instructions;
        assert!(verified <= CEILING, "{name}: {verified} verified instructions, {CEILING} at most");
    }
}
