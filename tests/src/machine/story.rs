//! What a machine is for: the story that its first process tells, and the processor that the story takes.

use std::env;

use anyhow::{Context as _, Result};

use super::image::PROGRAMS;
use crate::program::OBJECT;

/// The kernel parameter that names the story; the kernel makes it a variable of the first process.
const VARIABLE: &str = "LB_STORY";

/// What is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Story {
    /// The agent at work.
    Balance,
    /// The packet programs' instructions.
    Count,
    /// The instructions of a packet's whole way over a node.
    Carry,
}

impl Story {
    const ALL: [Self; 3] = [Self::Balance, Self::Count, Self::Carry];

    /// That of this machine, from inside.
    ///
    /// # Errors
    /// When none was asked for.
    pub fn asked_for() -> Result<Self> {
        let name = env::var(VARIABLE).with_context(|| format!("read {VARIABLE}"))?;
        let found = Self::ALL.into_iter().find(|story| story.name() == name);
        found.with_context(|| format!("there is no story {name}"))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Count => "count",
            Self::Carry => "carry",
        }
    }

    /// As a parameter of the kernel.
    pub(super) fn parameter(self) -> String {
        match self {
            Self::Balance => format!("{VARIABLE}={}", self.name()),
            // What the kernel places at random would take other branches every time.
            Self::Count | Self::Carry => {
                format!("{VARIABLE}={} {OBJECT}={PROGRAMS}/lb nokaslr norandmaps", self.name())
            }
        }
    }

    /// The emulator's arguments.
    pub(super) fn processor(self) -> &'static [&'static str] {
        match self {
            Self::Balance => &["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"],
            // One processor whose clock goes on by a nanosecond with each instruction, and jumps over idle times. Random
            // numbers are the same ones every time, so whatever the kernel draws is, too. The kernel chooses its code
            // by what the processor can: a model of which all versions of the emulator know all that is asked for.
            Self::Count | Self::Carry => &[
                "-accel",
                "tcg,thread=single",
                "-icount",
                "shift=0,sleep=off",
                "-cpu",
                "Haswell-v4,-pcid,-x2apic,-tsc-deadline,-invpcid,-spec-ctrl",
                "-smp",
                "1",
                "-seed",
                "1",
                "-rtc",
                "base=2026-01-01T00:00:00,clock=vm",
            ],
        }
    }
}
