//! Holds `docs/cases.md` to the sources: every case has a row, and every test that a row names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The cases that must have a row, by the first id of the row.
const CASES: &str = "A1 A2 A3.1 A3.3 A3.9 A3.13 A4.1 A4.11 A4.13 A4.19 A4.23 A5.1 A5.3 A5.6 A6 A7 A8 A9 \
                     B1 B2 B3 B4 B5 B6.1 B6.5 B6.7 B6.13 B6.15 B6.16 B7 \
                     C1 C2 C4 C6 C7 C9 C11 C12 C13 C15 C16 C18 C19 C21 C23 C25 C26 C28 C32 C33 C39 C40 C41 C43 C44";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Names of functions that are tests, or told by tests.
fn tests(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            tests(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let is_told = path.starts_with(root().join("tests/tests"));
            let text = fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                let signature = line.strip_prefix("async ").unwrap_or(line);
                if let Some(name) = signature.strip_prefix("fn ") {
                    if is_test || is_told {
                        found.insert(name.split('(').next().unwrap().to_owned());
                    }
                    is_test = false;
                }
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            }
        }
    }
}

/// Id, outcome and the names of the tests, row by row.
fn rows(page: &str) -> Vec<(String, String, Vec<String>)> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let row = |line: &str| {
        let cells = cells(line);
        let id: String = cells[1].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
        let is_case = id.starts_with(['A', 'B', 'C']) && id[1..].starts_with(|c: char| c.is_ascii_digit());
        let names = cells[3].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        is_case.then(|| (id, cells[2].clone(), names))
    };
    page.lines().filter(|line| line.starts_with('|')).filter_map(row).collect()
}

#[test]
fn every_case_has_a_row_and_every_test_of_a_row_exists() {
    let rows = rows(&fs::read_to_string(root().join("docs/cases.md")).unwrap());
    for case in CASES.split_whitespace() {
        assert!(rows.iter().any(|(id, ..)| id == case), "{case} has no row");
    }
    let mut known = BTreeSet::new();
    for part in ["lb-common", "lb-ebpf", "lb-userspace", "tests", "xtask"] {
        tests(&root().join(part), &mut known);
    }
    for (id, outcome, names) in rows {
        let unknown: Vec<_> = names.iter().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{id} names tests that do not exist: {unknown:?}");
        let prefix = format!("{}_", id.to_lowercase().replace('.', "_"));
        let is_tested = names.iter().any(|name| name.starts_with(&prefix));
        let is_excused = ["does not apply", "not covered"].iter().any(|word| outcome.starts_with(word));
        assert!(is_tested != is_excused, "{id}: no test begins with {prefix}, and no reason is given");
    }
}
