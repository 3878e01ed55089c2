//! How new flows are spread and how long they stay: bounds and defaults.

use std::collections::BTreeMap;
use std::time::Duration;

use super::words::{self, SELECTIONS, Selection};
use crate::model::field::Problems;
use crate::model::load_balancer::LoadBalancerSpec;
use crate::model::vm::{DEFAULT_WEIGHT, MAX_WEIGHT, VirtualMachine};

/// Seconds for which a client keeps its backend, unless given: as a Kubernetes Service does.
const AFFINITY: i64 = 10_800;
/// The longest affinity, in seconds: what the packet programs can count, 19 hours, in whole hours.
const MAX_AFFINITY: i64 = 19 * 3600;
/// The longest draining, in seconds: a day.
const MAX_DRAINING: i64 = 86_400;
/// The longest slow start, in seconds: an hour.
const MAX_SLOW_START: i64 = 3600;

/// How new flows are spread and how long they stay.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Balancing {
    /// How a backend is chosen.
    pub selection: Selection,
    /// How long a client keeps its backend after its last new flow; `None` is not at all.
    pub affinity: Option<Duration>,
    /// Shares by VM name, before what the VMs say themselves.
    pub weights: BTreeMap<String, u32>,
    /// How long a backend that leaves may finish its flows; `None`: one that is gone may not, one that takes
    /// no new flows may as long as they last.
    pub draining: Option<Duration>,
    /// How long a backend that gets ready takes to its whole share; zero has it at once.
    pub slow_start: Duration,
}

impl Balancing {
    /// A VM's share of new flows, relative to the others; 0 takes none.
    pub fn weight(&self, vm: &VirtualMachine) -> u32 {
        self.weights.get(&vm.name).copied().or_else(|| vm.weight()).unwrap_or(DEFAULT_WEIGHT)
    }
}

/// Checks all of it.
pub(super) fn check(spec: &LoadBalancerSpec, problems: &mut Problems) -> Balancing {
    let selection = words::check(SELECTIONS, "spec.selection", &spec.selection, problems);
    let affinity = spec.session_affinity.as_ref().map(|affinity| {
        let number = if affinity.timeout_seconds == 0 { AFFINITY } else { affinity.timeout_seconds };
        seconds("spec.sessionAffinity.timeoutSeconds", number, 1..=MAX_AFFINITY, problems)
    });
    let draining = spec.draining.as_ref().map(|draining| {
        seconds("spec.draining.timeoutSeconds", draining.timeout_seconds, 0..=MAX_DRAINING, problems)
    });
    let slow_start = spec.slow_start.as_ref().map_or(0, |slow_start| slow_start.seconds);
    let slow_start = seconds("spec.slowStart.seconds", slow_start, 0..=MAX_SLOW_START, problems);
    let weight = |(vm, &number): (&String, &i64)| match u32::try_from(number) {
        Ok(weight) if weight <= MAX_WEIGHT => Some((vm.clone(), weight)),
        Ok(_) | Err(_) => {
            let remedy = format!("use 0 to {MAX_WEIGHT}");
            problems.add(format!("spec.weights[{vm}]"), number, "not a weight", remedy);
            None
        }
    };
    let weights = spec.weights.iter().filter_map(weight).collect();
    Balancing { selection, affinity, weights, draining, slow_start }
}

fn seconds(
    path: &str,
    number: i64,
    bounds: std::ops::RangeInclusive<i64>,
    problems: &mut Problems,
) -> Duration {
    match u64::try_from(number) {
        Ok(seconds) if bounds.contains(&number) => Duration::from_secs(seconds),
        Ok(_) | Err(_) => {
            let remedy = format!("use {} to {} seconds, or leave it out", bounds.start(), bounds.end());
            problems.add(path, number, "out of range", remedy);
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::load_balancer::LoadBalancer;

    fn checked(spec: &str) -> Result<Balancing, Vec<String>> {
        let mut lb = LoadBalancer::new("shop", "front");
        lb.spec = serde_json::from_str(spec).unwrap();
        let mut problems = Problems::default();
        let balancing = check(&lb.spec, &mut problems);
        problems.result(balancing).map_err(|errors| errors.into_iter().map(|error| error.path).collect())
    }

    #[test]
    fn nothing_said_is_maglev_without_affinity() {
        assert_eq!(checked("{}").unwrap(), Balancing::default());
    }

    #[test]
    fn everything_can_be_said() {
        let spec = r#"{"selection": "LeastConnections", "sessionAffinity": {}, "weights": {"a": 0, "b": 256},
            "draining": {"timeoutSeconds": 30}, "slowStart": {"seconds": 60}}"#;
        let expected = Balancing {
            selection: Selection::LeastConnections,
            affinity: Some(Duration::from_hours(3)),
            weights: [("a".to_owned(), 0), ("b".to_owned(), 256)].into(),
            draining: Some(Duration::from_secs(30)),
            slow_start: Duration::from_mins(1),
        };
        assert_eq!(checked(spec).unwrap(), expected);
    }

    #[test]
    fn wrong_values_are_refused_by_their_paths() {
        let spec = r#"{"selection": "Fastest", "sessionAffinity": {"timeoutSeconds": 70000},
            "weights": {"a": 257, "b": -1}, "draining": {"timeoutSeconds": -1}, "slowStart": {"seconds": 3601}}"#;
        let paths = [
            "spec.selection",
            "spec.sessionAffinity.timeoutSeconds",
            "spec.draining.timeoutSeconds",
            "spec.slowStart.seconds",
            "spec.weights[a]",
            "spec.weights[b]",
        ];
        assert_eq!(checked(spec).unwrap_err(), paths);
    }

    #[test]
    fn the_load_balancers_weight_goes_before_the_vms() {
        let mut vm = VirtualMachine { name: "a".into(), ..VirtualMachine::default() };
        let told = checked(r#"{"weights": {"a": 5}}"#).unwrap();
        assert_eq!((Balancing::default().weight(&vm), told.weight(&vm)), (1, 5));
        vm.labels = std::iter::once(("loadbalancer.harvesterhci.io/weight".into(), "7".into())).collect();
        assert_eq!((Balancing::default().weight(&vm), told.weight(&vm)), (7, 5));
    }
}
