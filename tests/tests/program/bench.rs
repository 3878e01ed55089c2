//! The benchmarks of packet programs do what they say that they measure.

use lb_tests::bench::report::Report;
use lb_tests::bench::{Effort, alone};
use lb_tests::program::Programs;
use lb_tests::skip::skip;

#[test]
fn every_subject_does_with_each_packet_what_it_must() {
    if let Err(reason) = Programs::permitted() {
        return skip(&reason);
    }
    let mut report = Report::new();
    alone::run(&mut report, Effort::Quick, "", 1).expect("rig A");
    assert!(report.figures.iter().any(|figure| figure.path.contains("established")), "nothing was measured");
}
