//! A number of instructions, on its way out of the machine.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

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
    /// Instructions, above those of the floor.
    pub instructions: u64,
}

impl Count {
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
    fn counts_come_out_of_the_machine_as_they_were() {
        let count = Count { path: "to: all".to_owned(), subject: "lb".to_owned(), instructions: 450 };
        let line = serde_json::to_string(&count).expect("JSON");
        let transcript = Transcript::new(format!("guest: count: {line}\r\nguest: clock: 7\n"));
        assert_eq!(Count::all(&transcript).expect("counts"), [count]);
    }
}
