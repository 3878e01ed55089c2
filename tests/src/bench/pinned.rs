//! A thread that keeps to one processor while something is measured on it.

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// This thread, Linux says.
const SELF: Pid = Pid::from_raw(0);

/// Keeps the thread to a processor for as long as it lives. What the thread starts meanwhile inherits that.
#[must_use]
pub(super) struct Pinned {
    before: CpuSet,
}

impl Pinned {
    /// The last processor that the thread may use: interrupts mostly go to the first.
    pub(super) fn here() -> Result<Self> {
        let before = sched_getaffinity(SELF).context("ask for this thread's processors")?;
        let last = (0..CpuSet::count()).rev().find(|&cpu| before.is_set(cpu).unwrap_or(false));
        let mut one = CpuSet::new();
        one.set(last.context("no processor")?).context("choose a processor")?;
        sched_setaffinity(SELF, &one).context("keep this thread on one processor")?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = sched_setaffinity(SELF, &self.before) {
            eprintln!("this thread stays on one processor, and so does what it starts: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processors() -> usize {
        let allowed = sched_getaffinity(SELF).expect("this thread's processors");
        (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false)).count()
    }

    #[test]
    fn the_thread_has_all_of_its_processors_again() {
        let before = processors();
        let pinned = Pinned::here().expect("keep to one processor");
        assert_eq!(processors(), 1);
        drop(pinned);
        assert_eq!(processors(), before);
    }
}
