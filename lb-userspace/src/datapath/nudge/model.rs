//! Who is nudged, and how fast.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::datapath::flows::model::{BackendRef, Flow, State};
use crate::datapath::model::Protocol;

/// Backends whose flows are over.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Ended {
    /// Who they are, and in which generation.
    pub backends: BTreeSet<BackendRef>,
    /// The addresses that are served: in the name of no other is anything sent.
    pub vips: BTreeSet<IpAddr>,
}

/// A client and what it dialled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Nudge {
    /// Who is nudged.
    pub client: SocketAddr,
    /// In whose name.
    pub vip: SocketAddr,
}

impl Ended {
    /// The nudge that a flow needs, if it needs one: an opening client asks by itself, a closing one has been
    /// told.
    pub fn nudge(&self, flow: &Flow) -> Option<Nudge> {
        let waits = matches!(flow.state, State::Established | State::Finished);
        let ours = self.backends.contains(&flow.backend) && self.vips.contains(&flow.vip.ip());
        (flow.protocol == Protocol::Tcp && waits && ours)
            .then_some(Nudge { client: flow.client, vip: flow.vip })
    }

    /// Adds what has ended since; the addresses are those of now.
    pub fn merge(&mut self, later: Self) {
        self.backends.extend(later.backends);
        self.vips = later.vips;
    }
}

/// Segments that are sent at once.
pub const BURST: usize = 50;
/// From burst to burst: 10,000 segments a second.
pub const PAUSE: Duration = Duration::from_millis(5);
/// When the flow table is looked at again, after the last nudge was sent: for clients that were not reached.
pub const ROUNDS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(250), Duration::from_millis(500)];
/// Clients that are nudged in one round: whoever is left waits for the next one.
pub const MOST: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(protocol: Protocol, state: State, id: u32, generation: u8) -> Flow {
        Flow {
            protocol,
            client: "198.51.100.10:40000".parse().unwrap(),
            vip: "203.0.113.80:80".parse().unwrap(),
            server: "192.0.2.11:8080".parse().unwrap(),
            source: "198.51.100.10:40000".parse().unwrap(),
            backend: BackendRef::new(id, generation),
            state,
            idle: Duration::ZERO,
            overflowed: false,
        }
    }

    #[test]
    fn only_waiting_clients_of_dead_backends_are_nudged() {
        let mut ended = Ended {
            backends: [BackendRef::new(7, 1)].into(),
            vips: [IpAddr::from([203, 0, 113, 80])].into(),
        };
        let idle = flow(Protocol::Tcp, State::Established, 7, 1);
        assert_eq!(ended.nudge(&idle), Some(Nudge { client: idle.client, vip: idle.vip }));
        assert!(ended.nudge(&flow(Protocol::Tcp, State::Finished, 7, 1)).is_some());
        for other in [
            flow(Protocol::Udp, State::Established, 7, 1),
            flow(Protocol::Tcp, State::Opening, 7, 1),
            flow(Protocol::Tcp, State::Closing, 7, 1),
            flow(Protocol::Tcp, State::Established, 7, 2),
            flow(Protocol::Tcp, State::Established, 8, 1),
        ] {
            assert_eq!(ended.nudge(&other), None, "{other:?}");
        }
        ended.vips.clear();
        assert_eq!(ended.nudge(&idle), None, "the address is not ours any more");
    }
}
