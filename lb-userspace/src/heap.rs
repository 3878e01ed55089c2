//! What the allocator keeps of the memory that it has been given back.
//!
//! A turn that looks at a hundred thousand backends takes and frees hundreds of megabytes, in pieces that are too small
//! for the allocator to return on its own.
#![expect(unsafe_code, reason = "settings of the allocator that no library offers")]

use std::future::Future;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often free memory is returned to the kernel.
const PERIOD: Duration = Duration::from_secs(10);

/// Lets all threads share five heaps. Each heap keeps what was free at its fullest; without this, there may be eight for
/// each processor. Great pieces, as whole maps of the kernel that are read back, are in none: they are returned at once.
/// To be called before threads are started.
pub fn share() {
    #[cfg(target_env = "gnu")]
    {
        /// Most is taken by the control loop, by what stores and by who reads VMs, one at a time each. Threads take heaps in
        /// turn: with four, objects and VMs were read from one at the start, each waiting for the other.
        const ARENAS: libc::c_int = 5;
        /// Bytes. Said, it stays; left alone, it grows with what is returned.
        const GREAT: libc::c_int = 1 << 20;
        // SAFETY: sets a number of the allocator's.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
        // SAFETY: as above.
        unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, GREAT) };
    }
}

/// Returns free memory to the kernel now and then, until `stop`.
pub async fn run(stop: impl Future<Output = ()>) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            // It may take a while.
            _ = ticks.tick() => drop(tokio::task::spawn_blocking(give_back).await),
        }
    }
}

/// Whoever takes memory of a heap meanwhile waits until that one is looked through, so it is done only where there is much.
fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        /// Bytes.
        const MUCH: usize = 16 << 20;
        // SAFETY: only tells.
        if unsafe { libc::mallinfo2() }.fordblks > MUCH {
            // SAFETY: changes nothing that is in use.
            unsafe { libc::malloc_trim(0) };
        }
    }
}
