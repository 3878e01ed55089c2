//! Slow start: the weight of a backend that gets ready rises in steps.

use std::time::{Duration, Instant};

/// Steps to the whole share; the first one is taken at once. Weights are multiplied by it, so that a step is a
/// whole number.
pub(super) const STEPS: u32 = 10;

/// The share in [`STEPS`] of a backend that has been ready since then and takes so much time to its whole share, and
/// when the next step is due; `None` once it has the whole.
pub(super) fn step(since: Instant, time: Duration, now: Instant) -> (u32, Option<Instant>) {
    let each = time / STEPS;
    let next = (1..STEPS).find(|step| now < since + each * *step);
    next.map_or((STEPS, None), |steps| (steps, Some(since + each * steps)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_rises_to_the_whole() {
        let (start, time) = (Instant::now(), Duration::from_secs(100));
        assert_eq!(step(start, Duration::ZERO, start), (STEPS, None), "no slow start");
        for steps in 1..STEPS {
            let due = start + Duration::from_secs(10) * steps;
            let before = due.checked_sub(Duration::from_nanos(1)).unwrap();
            assert_eq!(step(start, time, before), (steps, Some(due)));
        }
        assert_eq!(step(start, time, start + Duration::from_secs(90)), (STEPS, None));
    }
}
