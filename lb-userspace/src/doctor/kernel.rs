//! The kernel: its version, what it was built with, and the file systems that BPF needs.

use super::ground::Ground;
use super::model::{Check, Finding, Severity};
use super::system::{System, setting};

/// The oldest that runs everything.
const OLDEST: (u32, u32) = (5, 18);
/// From here on there are tcx and XDP features.
const RECOMMENDED: (u32, u32) = (6, 6);

/// Options without which something does not work, and what.
const OPTIONS: [(&str, Severity, &str); 6] = [
    ("CONFIG_BPF_SYSCALL", Severity::Problem, "there are no packet programs without it"),
    ("CONFIG_BPF_JIT", Severity::Problem, "programs are interpreted, several times slower"),
    ("CONFIG_NET_CLS_BPF", Severity::Warning, "tc programs can't be attached before Linux 6.6"),
    ("CONFIG_NET_SCH_INGRESS", Severity::Warning, "tc programs can't be attached"),
    ("CONFIG_CGROUP_BPF", Severity::Warning, "processes of this node can't dial VIPs"),
    ("CONFIG_DEBUG_INFO_BTF", Severity::Note, "the kernel's types are not known to tools"),
];

pub(super) fn check(system: &dyn System, _: &Ground) -> Vec<Finding> {
    let release = system.read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut findings: Vec<Finding> = version(release).into_iter().collect();
    if setting(system, "net/core/bpf_jit_enable") == Some(0) {
        findings.push(
            finding(Severity::Warning, "net.core.bpf_jit_enable", "0: programs are interpreted")
                .why("every packet takes several times as long")
                .remedy("sysctl -w net.core.bpf_jit_enable=1"),
        );
    }
    findings.extend(options(system, release));
    findings.extend(mounts(&system.read("/proc/self/mounts").unwrap_or_default()));
    findings
}

fn finding(severity: Severity, subject: &str, found: impl Into<String>) -> Finding {
    Finding::new(severity, Check::Kernel, subject, found)
}

fn version(release: &str) -> Option<Finding> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    if version < OLDEST {
        let why = "XDP programs take frames of several buffers, as ours do, from Linux 5.18 on";
        return Some(finding(Severity::Problem, "version", format!("Linux {release} is too old")).why(why));
    }
    (version < RECOMMENDED).then(|| {
        finding(Severity::Note, "version", format!("Linux {release}; 6.6 or newer is recommended"))
            .why("before 6.6, tc programs are attached as filters, which can't be replaced in one step")
    })
}

/// What the kernel was built with, where that can be found out.
fn options(system: &dyn System, release: &str) -> Vec<Finding> {
    let boot = || system.read(&format!("/boot/config-{release}"));
    let Ok(text) = system.run("zcat", &["/proc/config.gz"]).or_else(|_| boot()) else {
        let btf = system.run("test", &["-e", "/sys/kernel/btf/vmlinux"]).is_ok();
        return if btf {
            Vec::new()
        } else {
            let found = "neither /proc/config.gz nor /boot's configuration nor BTF can be read";
            vec![finding(Severity::Note, "configuration", found).why("what the kernel lacks is not known")]
        };
    };
    let is_set = |option: &str| {
        let value = |line: &str| {
            line.strip_prefix(option)
                .and_then(|rest| rest.strip_prefix('='))
                .is_some_and(|value| matches!(value, "y" | "m"))
        };
        text.lines().any(value)
    };
    OPTIONS
        .into_iter()
        .filter(|(option, ..)| !is_set(option))
        .map(|(option, severity, why)| finding(severity, option, "not set").why(why))
        .collect()
}

fn mounts(text: &str) -> Vec<Finding> {
    let has = |kind: &str| text.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    let mut findings = Vec::new();
    if !has("bpf") {
        findings.push(
            finding(Severity::Warning, "/sys/fs/bpf", "no BPF file system is mounted")
                .why("pinned programs and maps keep traffic flowing while no agent runs")
                .remedy("mount -t bpf bpf /sys/fs/bpf"),
        );
    }
    if !has("cgroup2") {
        findings.push(
            finding(Severity::Note, "cgroup2", "no cgroup2 file system is mounted")
                .why("programs for processes of this node are attached to it")
                .remedy("mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::recorded::{Recorded, brief};

    const MOUNTS: &str = "bpf /sys/fs/bpf bpf rw,relatime 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";

    fn config(without: &str) -> String {
        let lines = OPTIONS.iter().filter(|(option, ..)| *option != without);
        lines.map(|(option, ..)| [option, "=y\n"].concat()).collect()
    }

    fn system(release: &str) -> Recorded {
        Recorded::default()
            .with("/proc/sys/kernel/osrelease", release)
            .with("/proc/sys/net/core/bpf_jit_enable", "1\n")
            .with("/proc/self/mounts", MOUNTS)
    }

    #[test]
    fn a_good_kernel_has_no_findings() {
        let system = system("6.18.44-cloud\n").with("zcat /proc/config.gz", &config(""));
        assert_eq!(check(&system, &Ground::default()), []);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (release, severity) in [
            ("5.10.0-30-amd64", Some(Severity::Problem)),
            ("5.15.0", Some(Severity::Problem)),
            ("5.18.0", Some(Severity::Note)),
            ("6.1.0-44-cloud-amd64", Some(Severity::Note)),
            ("6.12.9", None),
            ("10.0.1", None),
        ] {
            assert_eq!(version(release).map(|finding| finding.severity), severity, "{release}");
        }
    }

    #[test]
    fn missing_options_mounts_and_compiler_are_found() {
        let system = Recorded::default()
            .with("/proc/sys/kernel/osrelease", "6.12.0-x\n")
            .with("/proc/sys/net/core/bpf_jit_enable", "0\n")
            .with("/proc/self/mounts", "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n")
            .with("/boot/config-6.12.0-x", &config("CONFIG_CGROUP_BPF"));
        let findings = check(&system, &Ground::default());
        assert_eq!(
            brief(&findings),
            [
                (Severity::Warning, "net.core.bpf_jit_enable", "sysctl -w net.core.bpf_jit_enable=1"),
                (Severity::Warning, "CONFIG_CGROUP_BPF", ""),
                (Severity::Warning, "/sys/fs/bpf", "mount -t bpf bpf /sys/fs/bpf"),
                (
                    Severity::Note,
                    "cgroup2",
                    "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified"
                ),
            ]
        );
    }
}
