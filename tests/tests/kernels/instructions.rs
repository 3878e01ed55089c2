//! What packets take is in git, so that a change of it is seen: `snapshots/instructions.json`. Where it is meant to
//! change, `LB_UPDATE_SNAPSHOTS=1` writes it anew.
//!
//! An emulated machine counts the same instructions every time, whatever else the real one has to do. Kernels, compiled
//! otherwise, take others, so numbers are compared only where they were taken.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use lb_tests::bench::alone::LB;
use lb_tests::bench::emulated::{self, JUDGED};
use lb_tests::skip::skip;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    /// The release of the kernel that counted.
    kernel: String,
    /// Above the floor, by path.
    instructions: BTreeMap<String, u64>,
}

impl Snapshot {
    /// As it is in git; written first where that is asked for.
    fn recorded(now: &Self) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots/instructions.json");
        if env::var_os("LB_UPDATE_SNAPSHOTS").is_some() {
            let text = serde_json::to_string_pretty(now).expect("a snapshot as JSON");
            fs::write(&path, text + "\n").expect("write the snapshot");
        }
        let text = fs::read_to_string(&path).expect("read the snapshot");
        serde_json::from_str(&text).expect("the snapshot's JSON")
    }
}

#[test]
fn packets_take_as_many_instructions_as_recorded() {
    let kernel = match emulated::kernel(JUDGED) {
        Ok(kernel) => kernel,
        Err(reason) => return skip(&reason),
    };
    let counted = emulated::count(&kernel, JUDGED).unwrap();
    let ours = counted.counts.into_iter().filter(|count| count.subject == LB);
    let instructions = ours.map(|count| (count.path, count.instructions)).collect();
    let now = Snapshot { kernel: counted.release, instructions };
    let recorded = Snapshot::recorded(&now);
    if now.kernel != recorded.kernel {
        return skip(&format!("Linux {} has counted before, this is {}", recorded.kernel, now.kernel));
    }
    let remedy =
        "if this is meant, run with LB_UPDATE_SNAPSHOTS=1 and commit tests/snapshots/instructions.json";
    let counted = now.instructions.keys().collect::<Vec<_>>();
    assert_eq!(counted, recorded.instructions.keys().collect::<Vec<_>>(), "{remedy}");
    let others = now.instructions.iter().filter_map(|(path, &now)| {
        let before = recorded.instructions[path];
        (now.abs_diff(before) > slack(before)).then(|| format!("{path}: {before} before, {now} now"))
    });
    let others = others.collect::<Vec<_>>();
    assert!(others.is_empty(), "{remedy}: {others:#?}");
}

/// Five in a thousand, or the four instructions by which the kernel's own part has been seen to differ when the tests,
/// and with them all that happens before, were built otherwise.
fn slack(instructions: u64) -> u64 {
    (instructions / 200).max(4)
}
