//! Slow start: the weight of a backend that gets ready rises in steps.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::datapath::model::ListenerAddress;

/// Steps to the whole share; the first one is taken at once. Weights are multiplied by it, so that a step is a
/// whole number.
pub(super) const STEPS: u32 = 10;

/// The backends that do not have their whole share yet. An agent that restarts gives it to all.
#[derive(Default, Debug)]
pub(super) struct Ramps {
    since: BTreeMap<(ListenerAddress, SocketAddr), Ramp>,
}

#[derive(Clone, Copy, Debug)]
struct Ramp {
    since: Instant,
    step_at: Instant,
}

impl Ramps {
    /// A backend takes no new flows: whenever it does again, it begins anew.
    pub(super) fn stop(&mut self, listener: ListenerAddress, server: SocketAddr) {
        self.since.remove(&(listener, server));
    }

    /// Forgets those for whom this is not true.
    pub(super) fn retain(&mut self, wanted: impl Fn(ListenerAddress, SocketAddr) -> bool) {
        self.since.retain(|(listener, server), _| wanted(*listener, *server));
    }

    /// The share of a backend in [`STEPS`]. `is_new`: it took no flows until now.
    pub(super) fn step(
        &mut self,
        key: (ListenerAddress, SocketAddr),
        is_new: bool,
        time: Duration,
        now: Instant,
    ) -> u32 {
        if is_new && !time.is_zero() {
            self.since.entry(key).or_insert(Ramp { since: now, step_at: now });
        }
        let Some(ramp) = self.since.get_mut(&key) else { return STEPS };
        let each = time / STEPS;
        let steps = (1..STEPS).find(|step| now < ramp.since + each * *step).unwrap_or(STEPS);
        ramp.step_at = ramp.since + each * steps;
        if steps == STEPS {
            self.since.remove(&key);
        }
        steps
    }

    /// When the next step is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.since.values().map(|ramp| ramp.step_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::model::Protocol;

    #[test]
    fn the_share_rises_to_the_whole() {
        let listener = ListenerAddress::new([203, 0, 113, 1].into(), 80, Protocol::Tcp);
        let key = (listener, SocketAddr::from(([192, 0, 2, 11], 8080)));
        let (start, time) = (Instant::now(), Duration::from_secs(100));
        let mut ramps = Ramps::default();
        assert_eq!(ramps.step(key, false, time, start), STEPS, "a backend that served before");
        assert_eq!(ramps.step(key, true, Duration::ZERO, start), STEPS, "no slow start");
        assert_eq!(ramps.step(key, true, time, start), 1);
        for step in 2..=STEPS {
            let due = ramps.poll_timeout().unwrap();
            assert_eq!(due, start + Duration::from_secs(10) * (step - 1));
            assert_eq!(
                ramps.step(key, false, time, due.checked_sub(Duration::from_nanos(1)).unwrap()),
                step - 1
            );
            assert_eq!(ramps.step(key, false, time, due), step);
        }
        assert_eq!(ramps.poll_timeout(), None);
        assert_eq!(ramps.step(key, true, time, start), 1);
        ramps.stop(key.0, key.1);
        assert_eq!(ramps.step(key, true, time, start), 1, "it begins anew");
    }
}
