//! What is told inside the machine.

use anyhow::Result;

use super::clock;
use crate::machine::transcript::say;

/// Counts.
///
/// # Errors
/// When something can't be counted.
pub fn tell() -> Result<()> {
    say("clock", &format!("right but for {}", clock::prove()?));
    for _ in 0..3 {
        say("clock", &format!("right but for {} {}", clock::prove()?, clock::now()));
    }
    Ok(())
}
