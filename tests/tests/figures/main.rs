//! Ring 5: the rigs of `cargo xtask bench` whose figures are times, in short. What they measure is done rightly, or they
//! fail; how long it took is nobody's business here. Rigs A and C are in rings 2 and 4.

use lb_tests::bench::report::{Report, Rig};
use lb_tests::bench::{Effort, control, traffic};

/// How many figures a rig gave, none of which is missing or no number.
fn figures(report: &Report, rig: Rig) -> usize {
    let figures = report.figures.iter().filter(|figure| figure.rig == rig);
    let whole =
        figures.filter(|figure| !figure.samples.is_empty() && figure.samples.iter().all(|s| s.is_finite()));
    whole.count()
}

#[test]
fn all_ways_over_the_node_carry_what_they_are_given() {
    let mut report = Report::new();
    traffic::run(&mut report, Effort::Quick, "").expect("rig B");
    assert_eq!(figures(&report, Rig::B), report.figures.len());
    assert!(report.figures.len() > 50, "{} figures", report.figures.len());
}

#[test]
fn an_agent_with_many_objects_comes_to_an_end_with_each_change() {
    let mut report = Report::new();
    control::run(&mut report, Effort::Quick).expect("the control plane's rig");
    assert_eq!(figures(&report, Rig::Control), report.figures.len());
    assert!(report.figures.len() > 10, "{} figures", report.figures.len());
}
