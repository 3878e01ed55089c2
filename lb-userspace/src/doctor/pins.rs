//! What is pinned and attached, and what others have attached beside it.

use lb_common::map::ABI_VERSION;

use super::ground::{Ground, Interface};
use super::model::{Check, Finding, Severity};
use super::system::System;
use crate::datapath::kernel::survey::Running;
use crate::datapath::port::Hook;

pub(super) fn check(_: &dyn System, ground: &Ground) -> Vec<Finding> {
    if let Some(problem) = &ground.survey_problem {
        return vec![finding(Severity::Warning, "pins", problem).why("what runs can't be found out")];
    }
    if ground.config_problem.is_some() {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = versions(ground);
    for map in &ground.survey.missing_maps {
        let path = ground.pin_directory.join(ABI_VERSION.to_string()).join(map);
        let path = path.display().to_string();
        findings.push(
            finding(Severity::Problem, &path, "is not there, though programs of this version are pinned")
                .why("the next agent would fill a new map that the running programs do not read")
                .remedy(detach(ground)),
        );
    }
    for interface in &ground.interfaces {
        findings.extend(attached(ground, interface));
    }
    findings.extend(ground.survey.running.iter().filter(|program| !program.is_ours).map(foreign));
    findings
}

fn finding(severity: Severity, subject: &str, found: impl Into<String>) -> Finding {
    Finding::new(severity, Check::Pins, subject, found)
}

fn detach(ground: &Ground) -> String {
    format!("lb agent --detach --config {}", ground.config_file.display())
}

fn versions(ground: &Ground) -> Vec<Finding> {
    let mut findings = Vec::new();
    let survey = &ground.survey;
    if !survey.versions.contains_key(&ABI_VERSION) && survey.versions.is_empty() {
        let found = format!("nothing is pinned below {}", ground.pin_directory.display());
        findings
            .push(finding(Severity::Note, "pins", found).why("no packet is balanced before an agent starts"));
    }
    for (version, path) in survey.versions.iter().filter(|(version, _)| **version != ABI_VERSION) {
        let path = path.display().to_string();
        let found = format!("pinned by another version (maps {version}, this program has {ABI_VERSION})");
        findings.push(
            finding(Severity::Warning, &path, found)
                .why("its programs may still balance, from maps that no agent of this version fills")
                .remedy(detach(ground)),
        );
    }
    findings
}

/// A link that the agent reports and that is not there, or does not run our program any more.
fn attached(ground: &Ground, interface: &Interface) -> Option<Finding> {
    // Filters of clsact are not pinned.
    let uses_links = ground.survey.links.iter().any(|link| link.place == "tc-egress");
    let hook = interface.hook.filter(|_| ground.agent.is_some() && uses_links)?;
    let place = match hook {
        Hook::Xdp => "xdp",
        Hook::XdpGeneric => "xdp-generic",
        Hook::Tc => "tc-ingress",
    };
    let link = ground.survey.links.iter().find(|l| l.ifindex == interface.ifindex && l.place == place);
    let runs =
        |program: u32| ground.survey.running.iter().any(|r| r.interface == interface.name && r.id == program);
    let found = match link {
        None => format!("the agent attached {place}, and its link is not pinned"),
        Some(link) if !runs(link.program) => {
            format!("{} is pinned, and its program does not run on the interface", link.path.display())
        }
        Some(_) => return None,
    };
    let remove = link.map(|link| format!("rm {} && ", link.path.display())).unwrap_or_default();
    Some(
        finding(Severity::Problem, &interface.name, found)
            .why("packets that come in there are not balanced: somebody has detached the program")
            .remedy(format!("{remove}systemctl restart lb")),
    )
}

fn foreign(program: &Running) -> Finding {
    let Running { interface, place, id, name, .. } = program;
    let found = format!("{place} runs {name:?} (id {id}), which is not ours");
    if *place == "xdp" {
        return finding(Severity::Warning, interface, found)
            .why("an interface has one XDP program: ours runs by tc there, after this one")
            .remedy(format!("ip link set dev {interface} xdp off"));
    }
    finding(Severity::Note, interface, found)
        .why("programs of one hook run one after the other; what it drops or redirects does not come to ours")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::kernel::survey::{Pinned, Survey};
    use crate::doctor::recorded::{Recorded, brief, ground, uplink};

    fn running(place: &'static str, id: u32, is_ours: bool) -> Running {
        Running { interface: "eth0".into(), place, id, name: "other".into(), is_ours }
    }

    fn link(place: &'static str, program: u32) -> Pinned {
        Pinned { path: format!("/sys/fs/bpf/lb/1/links/3-{place}").into(), ifindex: 3, place, program }
    }

    fn served(survey: Survey) -> Ground {
        let mut ground = ground(vec![uplink("eth0", Hook::Xdp)]);
        ground.agent = Some(Default::default());
        ground.survey = survey;
        ground.survey.versions.insert(ABI_VERSION, "/sys/fs/bpf/lb/1".into());
        ground
    }

    #[test]
    fn what_runs_as_pinned_is_well() {
        let links = vec![link("xdp", 7), link("tc-egress", 8)];
        let running = vec![running("xdp", 7, true), running("tc-egress", 8, true)];
        let ground = served(Survey { links, running, ..Survey::default() });
        assert_eq!(check(&Recorded::default(), &ground), []);
    }

    #[test]
    fn a_detached_link_is_found() {
        let links = vec![link("xdp", 7), link("tc-egress", 8)];
        let ground = served(Survey { links, ..Survey::default() });
        let findings = check(&Recorded::default(), &ground);
        let remedy = "rm /sys/fs/bpf/lb/1/links/3-xdp && systemctl restart lb";
        assert_eq!(brief(&findings), [(Severity::Problem, "eth0", remedy)]);
    }

    #[test]
    fn programs_of_others_and_of_other_versions_are_found() {
        let survey = Survey {
            versions: [(77, "/sys/fs/bpf/lb/77".into())].into(),
            running: vec![running("xdp", 9, false), running("tc-ingress", 10, false)],
            ..Survey::default()
        };
        let ground = Ground { config_file: "/etc/lb/lb.yaml".into(), ..served(survey) };
        let findings = check(&Recorded::default(), &ground);
        assert_eq!(
            brief(&findings),
            [
                (Severity::Warning, "/sys/fs/bpf/lb/77", "lb agent --detach --config /etc/lb/lb.yaml"),
                (Severity::Warning, "eth0", "ip link set dev eth0 xdp off"),
                (Severity::Note, "eth0", ""),
            ]
        );
    }
}
