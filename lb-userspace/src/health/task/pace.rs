//! When first probes are sent: soon, and no more at a time than a busy node sends in passing.
//!
//! Each later probe follows a period after the one before it, so what is spread once stays spread: the probes of an
//! agent that has just started, and found ten thousand backends, don't come in a crowd every five seconds.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use crate::health::model::Backend;

/// First probes are spread over this part of the period, and no longer than [`MAX_JITTER`].
const JITTER_PART: u32 = 10;
/// First probes are sent within this time, if there are few.
pub(super) const MAX_JITTER: Duration = Duration::from_millis(250);
/// From turn to turn, where there are many: a probe takes the node some 0.3 ms of one processor.
const TURN: Duration = Duration::from_micros(500);

/// Gives turns to first probes.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the next turn is.
    free_at: Instant,
    /// Of the periods so far.
    longest: Duration,
}

impl Pace {
    /// Of which no turn has been given.
    pub(super) fn new(now: Instant) -> Self {
        Self { free_at: now, longest: Duration::ZERO }
    }

    /// How long a backend's first probe waits: no longer than its period. When all turns within the longest have been given,
    /// they are given once more, from the first on; those of a shorter period fold over it.
    pub(super) fn wait(&mut self, backend: &Backend, period: Duration, now: Instant) -> Duration {
        self.longest = self.longest.max(period);
        if self.free_at < now || self.free_at.duration_since(now) >= self.longest {
            self.free_at = now;
        }
        let ahead = self.free_at.duration_since(now).as_nanos();
        let turn = ahead.checked_rem(period.as_nanos()).and_then(|turn| u64::try_from(turn).ok());
        let turn = turn.map_or(Duration::ZERO, Duration::from_nanos);
        self.free_at += TURN;
        turn.max(jitter(backend, period))
    }
}

/// Spreads first probes; the same backend always waits as long.
fn jitter(backend: &Backend, period: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    backend.hash(&mut hasher);
    let part = f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    (period / JITTER_PART).min(MAX_JITTER).mul_f64(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::meta::NamespacedName;

    const PERIOD: Duration = Duration::from_secs(5);

    fn backend(number: u32) -> Backend {
        let address = std::net::Ipv4Addr::from(0xc612_0000 + number);
        Backend::new(NamespacedName::new("shop", "front"), address.into())
    }

    fn waits(pace: &mut Pace, count: u32, period: Duration, now: Instant) -> Vec<Duration> {
        (0..count).map(|number| pace.wait(&backend(number), period, now)).collect()
    }

    #[test]
    fn jitter_is_spread_and_bounded() {
        let waits: Vec<Duration> = (0..100).map(|number| jitter(&backend(number), PERIOD)).collect();
        assert!(waits.iter().all(|wait| *wait <= MAX_JITTER));
        let early = waits.iter().filter(|wait| **wait < MAX_JITTER / 2).count();
        assert!((20..=80).contains(&early), "{early} of 100 in the first half");
        assert!(jitter(&backend(1), Duration::from_millis(10)) <= Duration::from_millis(1));
    }

    #[test]
    fn a_few_first_probes_are_sent_at_once() {
        let now = Instant::now();
        let waits = waits(&mut Pace::new(now), 100, PERIOD, now);
        assert!(waits.iter().all(|wait| *wait <= MAX_JITTER));
    }

    #[test]
    fn many_first_probes_are_spread_over_the_period() {
        let now = Instant::now();
        for count in [10_000, 30_000] {
            let mut in_second = [0_u32; 5];
            for wait in waits(&mut Pace::new(now), count, PERIOD, now) {
                in_second[usize::try_from(wait.as_secs()).unwrap()] += 1;
            }
            let fair = count / 5;
            assert!(in_second.iter().all(|sent| sent.abs_diff(fair) <= fair / 5), "{count}: {in_second:?}");
        }
    }

    #[test]
    fn short_periods_among_long_ones_do_not_bring_the_crowd_back() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let mut in_second = [0_u32; 5];
        for number in 0..10_000 {
            let period = if number % 10 == 0 { Duration::from_secs(1) } else { PERIOD };
            let wait = pace.wait(&backend(number), period, now);
            assert!(wait <= period, "{wait:?}");
            if period == PERIOD {
                in_second[usize::try_from(wait.as_secs()).unwrap()] += 1;
            }
        }
        assert!(in_second.iter().all(|sent| sent.abs_diff(1800) <= 360), "{in_second:?}");
    }

    #[test]
    fn batches_that_follow_each_other_are_not_sent_together() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        // Ten batches of as many as one second has turns, a hundredth of a second apart.
        let batches = (0..10).map(|batch| now + Duration::from_millis(10) * batch);
        let times =
            batches.flat_map(|at| waits(&mut pace, 500, PERIOD, at).into_iter().map(move |wait| at + wait));
        let mut times: Vec<Instant> = times.collect();
        times.sort_unstable();
        let quarter = Duration::from_millis(250);
        let together =
            times.iter().map(|from| times.iter().filter(|at| (*from..*from + quarter).contains(at)).count());
        // Of the first turns, some are put off by jitter to those that follow.
        assert!(together.max().unwrap() <= 1001);
    }

    #[test]
    fn who_comes_long_after_a_crowd_is_probed_at_once() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let crowd = waits(&mut pace, 8000, PERIOD, now);
        assert!(crowd.iter().any(|wait| *wait > Duration::from_secs(3)));
        assert!(pace.wait(&backend(9000), PERIOD, now + Duration::from_secs(4)) <= MAX_JITTER);
    }

    #[test]
    fn nobody_waits_longer_than_a_period() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for period in [Duration::from_millis(1), Duration::from_millis(20), Duration::from_secs(1), PERIOD] {
            assert!(waits(&mut pace, 5000, period, now).iter().all(|wait| *wait <= period), "{period:?}");
        }
    }
}
