//! What a packet and a change cost, beside what others take for it: the rigs that `cargo xtask bench` runs.
//!
//! Figures of one run can be compared with each other, those of two runs can't: subjects take turns, and what is
//! judged is ratios, or what lies above a floor that was measured in between.

pub mod alone;
pub mod control;
pub mod emulated;
mod grid;
pub mod markdown;
mod pinned;
pub mod plot;
pub mod report;
pub mod traffic;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Enough to see that everything works and to count what can be counted exactly: no verdict on times.
    Quick,
    /// All of it.
    Full,
}

impl Effort {
    /// One of the two.
    pub fn of<T>(self, full: T, quick: T) -> T {
        match self {
            Self::Full => full,
            Self::Quick => quick,
        }
    }
}
