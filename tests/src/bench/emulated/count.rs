//! A number of instructions, on its way out of the machine.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::bench::report::quantile;
use crate::machine::transcript::{Transcript, say};

/// The key of the lines that carry counts.
const KEY: &str = "count";

/// What a packet takes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Count {
    /// What was done.
    pub path: String,
    /// By whom.
    pub subject: String,
    /// Instructions of the packet in the middle, when all are sorted by what they take: a tick of the kernel's timer
    /// comes to one in a hundred, and those that fall on it are not in the middle.
    pub instructions: u64,
}

impl Count {
    /// Of many packets with and as many without a subject.
    pub(super) fn above(path: &str, subject: &str, floor: &[u64], gross: &[u64]) -> Self {
        let middle =
            |costs: &[u64]| quantile(&costs.iter().map(|&cost| cost as f64).collect::<Vec<_>>(), 0.5);
        let instructions = (middle(gross) - middle(floor)).max(0.0) as u64;
        Self { path: path.to_owned(), subject: subject.to_owned(), instructions }
    }

    /// Says it, from inside.
    pub(super) fn say(&self) -> Result<()> {
        say(KEY, &serde_json::to_string(self).context("write a count")?);
        Ok(())
    }

    /// All that a machine has said.
    pub(super) fn all(transcript: &Transcript) -> Result<Vec<Self>> {
        let read = |line| serde_json::from_str(line).with_context(|| format!("read the count {line}"));
        transcript.values(KEY).map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_the_timer_do_not_count() {
        let count = Count::above("a path", "a subject", &[700, 701, 6_000, 700], &[1_100, 1_100, 9_000]);
        assert_eq!(count.instructions, 1_100 - 701);
    }

    #[test]
    fn counts_come_out_of_the_machine_as_they_were() {
        let count = Count { path: "to: all".to_owned(), subject: "lb".to_owned(), instructions: 450 };
        let line = serde_json::to_string(&count).expect("JSON");
        let transcript = Transcript::new(format!("guest: count: {line}\r\nguest: clock: 7\n"));
        assert_eq!(Count::all(&transcript).expect("counts"), [count]);
    }
}
