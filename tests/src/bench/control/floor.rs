//! What no burst can do without: filling the tables of the load balancers that it concerns.

// The agent's own file, not the agent: all programs of the test kit would be linked with it.
#[path = "../../../../lb-userspace/src/control/maglev.rs"]
mod maglev;

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Instant;

use self::maglev::{Member, table};
use super::milliseconds;
use super::size::{STEADY, Size, address};

const ROUNDS: u32 = 9;

/// Milliseconds that filling takes on one thread, round by round.
pub(super) fn fill(size: &Size) -> Vec<f64> {
    let vm = |number| SocketAddr::from((address(number % size.vms()), STEADY));
    let members =
        |first| (first..first + size.members).map(|number| Member { address: vm(number), weight: 1 });
    let all: Vec<Vec<Member>> =
        (0..size.burst_load_balancers()).map(|group| members(group * size.members).collect()).collect();
    let round = |seed| {
        let started = Instant::now();
        for members in &all {
            black_box(table(black_box(members), size.slots, seed));
        }
        milliseconds(started.elapsed())
    };
    (0..ROUNDS).map(u64::from).map(round).collect()
}
