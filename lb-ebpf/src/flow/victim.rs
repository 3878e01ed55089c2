//! Which entry of a bucket has to go for a new flow.

use lb_common::config::{ConfigValue, age, expired};
use lb_common::flow::{FlowEntry, WAYS};
use lb_common::head::{Head, State};
use lb_common::net::Address;

/// What it costs to take an entry; the cheapest of a bucket is taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Price(u32);

impl Price {
    /// The new flow's own earlier entry.
    pub(super) const OWN: Self = Self(0);
    /// Nobody's.
    pub(super) const EMPTY: Self = Self(1);
    const DEAD: Self = Self(2);
    const EXPIRED: Self = Self(3);
    const HALF_OPEN: u32 = 4;
    /// Another live flow's entry with the very same key.
    pub(super) const TAKEN: Self = Self(Self::LIVE.0 + 1);
    /// A live established flow: never taken.
    pub(super) const LIVE: Self = Self(1 << 24);

    /// Of an entry in this way of its bucket: comparable, and [`Price::way`] gives the way back.
    #[inline(always)]
    pub(super) const fn tagged(self, way: usize) -> u32 {
        self.0 << 2 | (way & (WAYS - 1)) as u32
    }

    /// The way of a tagged price.
    #[inline(always)]
    pub(super) const fn way(tagged: u32) -> usize {
        tagged as usize & (WAYS - 1)
    }

    /// May the entry be taken?
    #[inline(always)]
    pub(super) const fn affordable(self) -> bool {
        self.0 < Self::LIVE.0
    }
}

/// The price of `entry` for `flow`, whose other half may stand in the same bucket and stays; `alive` says whether the backend of the entry serves its generation.
#[inline(always)]
pub(super) fn price<A: Address>(
    entry: &FlowEntry<A>,
    alive: bool,
    flow: &FlowEntry<A>,
    config: &ConfigValue,
    now: u16,
) -> Price {
    let (ports, state) = (flow.head.ports(), entry.head.state());
    let out = expired(entry.last_seen, now, config.timeout(entry.head.protocol(), state));
    if state == State::Empty {
        return Price::EMPTY;
    }
    if entry.head.matches(Head::wanted(ports, flow.head.protocol()))
        && entry.is_between(flow.source, flow.destination)
    {
        let own = out || !alive || state == State::Closing || entry.same_flow(flow);
        return if own { Price::OWN } else { Price::TAKEN };
    }
    let twin = flow.rewritten().reversed();
    if entry.head.matches(Head::wanted((twin.source_port, twin.destination_port), twin.protocol))
        && entry.is_between(twin.source, twin.destination)
    {
        return Price::LIVE;
    }
    match state {
        State::Busy => Price::LIVE,
        _ if !alive => Price::DEAD,
        _ if out => Price::EXPIRED,
        State::Opening | State::Replied => {
            Price(Price::HALF_OPEN + u32::from(u16::MAX - age(entry.last_seen, now)))
        }
        State::Empty | State::Established | State::Finished | State::Closing => Price::LIVE,
    }
}

#[cfg(test)]
mod tests {
    use lb_common::backend::BackendRef;
    use lb_common::flow::{Flow, FlowKey};
    use lb_common::head::Kind;
    use lb_common::net::{Be16, Ipv4, Protocol};

    use super::*;

    const NOW: u16 = 1000;

    fn flow(client: u8, backend: u8, state: State, age: u16) -> Flow<Ipv4> {
        Flow {
            key: FlowKey {
                source: Ipv4([192, 0, 2, client]),
                destination: Ipv4([203, 0, 113, 80]),
                source_port: Be16::new(40_000),
                destination_port: Be16::new(80),
                protocol: Protocol::Tcp,
            },
            kind: Kind { state, reply: false, masquerade: false, at_egress: false, partial: false },
            address: Ipv4([198, 51, 100, backend]),
            source_port: Be16::new(40_000),
            destination_port: Be16::new(8080),
            backend: BackendRef::new(1, 0),
            next_hop: 0,
            last_seen: NOW - age,
        }
    }

    fn cost(old: &Flow<Ipv4>, alive: bool) -> Price {
        let config =
            ConfigValue { tcp_opening: 28, tcp_established: 600, tcp_closing: 5, ..ConfigValue::default() };
        let new = FlowEntry::new(&flow(1, 1, State::Opening, 0), Head::default());
        price(&FlowEntry::new(old, Head::default()), alive, &new, &config, NOW)
    }

    #[test]
    fn the_order_is_dead_expired_oldest_half_open() {
        let dead = cost(&flow(2, 1, State::Established, 0), false);
        let expired = cost(&flow(2, 1, State::Established, 601), true);
        let old = cost(&flow(2, 1, State::Opening, 20), true);
        let young = cost(&flow(2, 1, State::Replied, 3), true);
        assert!(Price::EMPTY < dead && dead < expired && expired < old && old < young);
        assert!(young.affordable());
    }

    #[test]
    fn what_another_cpu_saw_a_tick_later_is_the_youngest() {
        let young = cost(&flow(2, 1, State::Opening, 0), true);
        let mut ahead = flow(2, 1, State::Opening, 0);
        ahead.last_seen = NOW + 1;
        assert!(cost(&ahead, true) > young);
    }

    #[test]
    fn a_live_established_flow_is_never_taken() {
        for state in [State::Established, State::Finished, State::Closing, State::Busy] {
            assert!(!cost(&flow(2, 1, state, 0), true).affordable(), "{state:?}");
        }
    }

    #[test]
    fn the_other_half_of_the_new_flow_stays() {
        let twin = flow(1, 1, State::Opening, 0).twin();
        assert!(!cost(&twin, true).affordable());
    }

    #[test]
    fn an_entry_with_the_same_key_is_ones_own_or_taken() {
        assert_eq!(cost(&flow(1, 1, State::Established, 0), true), Price::OWN);
        assert_eq!(cost(&flow(1, 2, State::Established, 0), true), Price::TAKEN);
        assert_eq!(cost(&flow(1, 2, State::Closing, 0), true), Price::OWN);
        assert_eq!(cost(&flow(1, 2, State::Established, 601), true), Price::OWN);
        assert_eq!(cost(&flow(1, 2, State::Established, 0), false), Price::OWN);
    }
}
