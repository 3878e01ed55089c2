//! What happened a second between two looks at counters.

use std::cmp::Ordering;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::amount::{BYTES, NUMBERS, amount};
use crate::control::report::Counters;

/// What comes first: the greatest of this.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub(super) enum By {
    /// Packets a second
    #[default]
    Packets,
    /// Bytes a second
    Bytes,
    /// New flows a second
    New,
    /// Live flows
    Live,
}

/// What happened a second, and the flows at the end.
#[derive(Clone, Copy, PartialEq, Default, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rates {
    /// Of both directions.
    packets_per_second: f64,
    /// Of both directions.
    bytes_per_second: f64,
    new_flows_per_second: f64,
    live_flows: u64,
}

impl Rates {
    /// From the counters at both ends, and the flows at the last.
    pub(super) fn between(before: &Counters, after: &Counters, live_flows: u64, elapsed: Duration) -> Self {
        let rate = |of: fn(&Counters) -> u64| a_second(of(before), of(after), elapsed);
        Self {
            packets_per_second: rate(|c| c.forward_packets.saturating_add(c.reply_packets)),
            bytes_per_second: rate(|c| c.forward_bytes.saturating_add(c.reply_bytes)),
            new_flows_per_second: rate(|c| c.flows),
            live_flows,
        }
    }

    /// The sum.
    pub(super) fn and(self, other: &Self) -> Self {
        Self {
            packets_per_second: self.packets_per_second + other.packets_per_second,
            bytes_per_second: self.bytes_per_second + other.bytes_per_second,
            new_flows_per_second: self.new_flows_per_second + other.new_flows_per_second,
            live_flows: self.live_flows + other.live_flows,
        }
    }

    /// Packets, bytes, new and live flows.
    pub(super) fn cells(&self) -> [String; 4] {
        [
            amount(self.packets_per_second, NUMBERS),
            amount(self.bytes_per_second, BYTES),
            amount(self.new_flows_per_second, NUMBERS),
            self.live_flows.to_string(),
        ]
    }
}

impl By {
    /// The greater first; those that are equal stay in the order of their names.
    pub(super) fn order(self, a: &Rates, b: &Rates) -> Ordering {
        match self {
            Self::Packets => b.packets_per_second.total_cmp(&a.packets_per_second),
            Self::Bytes => b.bytes_per_second.total_cmp(&a.bytes_per_second),
            Self::New => b.new_flows_per_second.total_cmp(&a.new_flows_per_second),
            Self::Live => b.live_flows.cmp(&a.live_flows),
        }
    }
}

/// Of a counter; one that is less than it was begins anew, and has no rate yet.
#[expect(clippy::cast_precision_loss, reason = "nobody counts 2^53 packets between two looks")]
pub(super) fn a_second(before: u64, after: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { after.saturating_sub(before) as f64 / elapsed.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_begins_anew_has_no_rate_yet() {
        let rates = [(10, 4, 1), (4, 10, 0), (4, 10, 4)].map(|(before, after, seconds)| {
            a_second(before, after, Duration::from_secs(seconds)).to_string()
        });
        assert_eq!(rates, ["0", "0", "1.5"]);
    }
}
