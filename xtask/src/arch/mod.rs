//! `arch`: holds the sources to the house rules: who may name what, where things are called what, how long
//! a file may be. Compilers and clippy don't know these.

mod source;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace;
use source::Source;

/// Checks every source file.
///
/// # Errors
/// When a rule is broken; all findings are printed first.
pub(crate) fn run() -> Result<()> {
    let root = workspace::root();
    let mut files = Vec::new();
    for member in table::MEMBERS {
        collect(&root.join(member), &mut files)?;
    }
    files.sort();
    let mut findings = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let path = file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned();
        findings.extend(check(&Source::parse(path, &text)));
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} broken house rules (the table is xtask/src/arch/table.rs)", findings.len());
    }
    eprintln!("arch: {} files keep the house rules", files.len());
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("list {}", directory.display()))?.path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// All findings in one file, as `path:line: what`.
fn check(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    let path = &source.path;
    if source.length > table::MAX_LINES {
        findings.push(format!("{path}:1: {} lines; split at {}", source.length, table::MAX_LINES));
    }
    for part in path.split('/') {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        if table::FORBIDDEN_NAMES.contains(&stem) {
            findings.push(format!("{path}:1: `{stem}` says nothing; name the noun"));
        }
    }
    for rule in table::RULES {
        if rule.binds(path) {
            for (line, word) in source.mentions(rule.words) {
                findings.push(format!("{path}:{line}: names `{word}`: {}", rule.reason));
            }
        }
    }
    if let Some(feature) = table::feature(path) {
        for (line, other) in source.imported_features() {
            if !table::may_import(feature, &other) {
                findings.push(format!(
                    "{path}:{line}: `{feature}` imports `{other}`; only control sees both sides"
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&Source::parse(path.to_owned(), text))
    }

    #[test]
    fn only_the_kernel_door_names_aya() {
        let text = "use aya::Ebpf;\n";
        assert_eq!(findings("lb-userspace/src/datapath/kernel/load.rs", text), [""; 0]);
        assert_eq!(findings("lb-userspace/src/control/task.rs", text).len(), 1);
    }

    #[test]
    fn pure_files_have_no_clock_and_no_files() {
        let text = "use std::{fs, time::Instant};\nfn now() -> Instant { Instant::now() }\n";
        let found = findings("lb-userspace/src/health/sm.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().any(|line| line.contains(":1: names `std::fs`")), "{found:?}");
        assert!(found.iter().any(|line| line.contains(":2: names `Instant::now`")), "{found:?}");
        assert_eq!(findings("lb-userspace/src/health/task.rs", text), [""; 0]);
    }

    #[test]
    fn features_do_not_import_one_another() {
        let text = "use crate::health::sm::Probe;\n";
        assert_eq!(findings("lb-userspace/src/ipam/task.rs", text).len(), 1);
        assert_eq!(findings("lb-userspace/src/control/task.rs", text), [""; 0]);
    }

    #[test]
    fn comments_strings_and_tests_are_not_code() {
        let text = "// aya::Ebpf\nfn f() { \"aya::Ebpf\"; }\n#[cfg(test)]\nmod tests { use aya::Ebpf; }\n";
        assert_eq!(findings("lb-userspace/src/control/plan.rs", text), [""; 0]);
        assert_eq!(findings("lb-userspace/src/control/tests.rs", "use aya::Ebpf;\n"), [""; 0]);
        assert_eq!(findings("lb-userspace/src/api/tests/mod.rs", "use aya::Ebpf;\n"), [""; 0]);
    }

    #[test]
    fn names_and_lengths_are_checked() {
        assert_eq!(findings("lb-userspace/src/utils.rs", "").len(), 1);
        assert_eq!(findings("lb-common/src/net.rs", &"\n".repeat(401)).len(), 1);
    }
}
