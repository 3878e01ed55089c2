//! Processor time that packets take: that of the thread that sends them, in whose name the kernel does most of the rest,
//! and that of the kernel's own threads for what was put off. Others on the machine do not count.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::time::{ClockId, clock_gettime};

/// What has been spent up to a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    thread: Duration,
    kernel: Duration,
}

impl Spent {
    /// By this thread and the kernel's.
    pub(super) fn here() -> Result<Self> {
        let thread = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("read the thread's clock")?;
        Ok(Self { thread: thread.into(), kernel: kernel()? })
    }

    /// What has been spent since.
    pub(super) fn until_now(self) -> Result<Duration> {
        let now = Self::here()?;
        Ok(now.thread.saturating_sub(self.thread) + now.kernel.saturating_sub(self.kernel))
    }
}

/// The threads that the kernel runs soft interrupts on when there are too many.
fn kernel() -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for entry in fs::read_dir("/proc").context("list /proc")? {
        let path = entry.context("list /proc")?.path();
        // What is no process has no such file, and a process may end meanwhile.
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.starts_with("ksoftirqd/") {
            sum += on_processor(&path.join("schedstat")).unwrap_or_default();
        }
    }
    Ok(sum)
}

/// All threads of processes that go on, and of those that were started here and have ended.
pub(super) fn by_processes(ids: &[u32]) -> Result<Duration> {
    let ended =
        getrusage(UsageWho::RUSAGE_CHILDREN).context("ask for the time of processes that have ended")?;
    let mut sum = kernel()? + duration(ended.user_time()) + duration(ended.system_time());
    for id in ids {
        let tasks = format!("/proc/{id}/task");
        for entry in fs::read_dir(&tasks).with_context(|| format!("list {tasks}"))? {
            let path = entry.with_context(|| format!("list {tasks}"))?.path();
            sum += on_processor(&path.join("schedstat")).unwrap_or_default();
        }
    }
    Ok(sum)
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or_default())
}

/// The first number is the time that a thread has had a processor.
fn on_processor(path: &std::path::Path) -> Option<Duration> {
    let text = fs::read_to_string(path).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
