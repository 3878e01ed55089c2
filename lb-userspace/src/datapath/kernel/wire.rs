//! Model ⇄ bytes of the maps.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use lb_common::backend::{
    ACTIVE, BackendValue, DEAD, DRAINING, IPV6, LIMITED, MASQUERADE, REPLY_AT_EGRESS, ROUTED,
};
use lb_common::config::ConfigValue;
use lb_common::listener::{self, LEAST_CONNECTIONS, ListenerValue, MAGLEV, RANDOM};
use lb_common::maglev::SlotPair;
use lb_common::net::Be16;
use lb_common::policy::{ALLOWED, DENIED, LimitsValue, Rate};
use lb_common::port::{ACCOUNTED, ATTACHED, GENERIC, PARTIAL_CHECKSUMS, PortValue, UPLINK};
use lb_common::vip::{ANSWER_ARP, ANSWER_ECHO, DROP_UNSERVED, LEASED, VipValue};

use crate::config::Timeouts;
use crate::datapath::model::{
    BackendEntry, BackendId, BackendState, BalancerIndex, CheckedLimits, ListenerEntry, ListenerIndex,
    Placement, Selection, Source, Terms, VipPolicy, ticks,
};
use crate::datapath::port::{Hook, Port, Role};

pub(super) fn vip_value(policy: VipPolicy) -> VipValue {
    let flags = flag(policy.drop_unserved, DROP_UNSERVED) | flag(policy.leased, LEASED);
    VipValue { flags: ANSWER_ARP | ANSWER_ECHO | flags, padding: 0 }
}

pub(super) fn vip_policy(value: VipValue) -> VipPolicy {
    VipPolicy { drop_unserved: value.flags & DROP_UNSERVED != 0, leased: value.flags & LEASED != 0 }
}

pub(super) fn listener_value(entry: ListenerEntry) -> ListenerValue {
    let terms = entry.terms;
    let flags = flag(entry.drop_unserved, DROP_UNSERVED)
        | flag(terms.strict, listener::STRICT)
        | flag(terms.limited, listener::LIMITED)
        | flag(terms.filtered, listener::FILTERED);
    ListenerValue {
        index: entry.index.0,
        slots: entry.slots,
        flags,
        balancer: u32::from(terms.balancer.0),
        affinity: entry.affinity,
        selection: match entry.selection {
            Selection::Maglev => MAGLEV,
            Selection::Random => RANDOM,
            Selection::LeastConnections => LEAST_CONNECTIONS,
        },
        padding: 0,
    }
}

pub(super) fn listener_entry(value: ListenerValue) -> ListenerEntry {
    ListenerEntry {
        index: ListenerIndex(value.index),
        slots: value.slots,
        drop_unserved: value.flags & DROP_UNSERVED != 0,
        selection: match value.selection {
            RANDOM => Selection::Random,
            LEAST_CONNECTIONS => Selection::LeastConnections,
            _ => Selection::Maglev,
        },
        affinity: value.affinity,
        terms: Terms {
            // No index is greater: one that is was not written by an agent, and is put right.
            balancer: BalancerIndex(u16::try_from(value.balancer).unwrap_or(u16::MAX)),
            strict: value.flags & listener::STRICT != 0,
            limited: value.flags & listener::LIMITED != 0,
            filtered: value.flags & listener::FILTERED != 0,
        },
    }
}

pub(super) fn limits_value(limits: CheckedLimits) -> LimitsValue {
    LimitsValue {
        flows: Rate::new(limits.flows),
        packets: Rate::new(limits.packets),
        source_flows: Rate::new(limits.source_flows),
        source_packets: Rate::new(limits.source_packets),
    }
}

pub(super) fn limits(value: &LimitsValue) -> CheckedLimits {
    // A rate whose parts don't fit was not written by an agent; nobody asks for the greatest number.
    let per_second = |rate: Rate| if Rate::new(rate.per_second) == rate { rate.per_second } else { u32::MAX };
    CheckedLimits {
        flows: per_second(value.flows),
        packets: per_second(value.packets),
        source_flows: per_second(value.source_flows),
        source_packets: per_second(value.source_packets),
    }
}

pub(super) const fn source_value(source: Source) -> u32 {
    match source {
        Source::Allowed => ALLOWED,
        Source::Denied => DENIED,
    }
}

pub(super) const fn source(value: u32) -> Source {
    if value == DENIED { Source::Denied } else { Source::Allowed }
}

pub(super) fn backend_value(entry: &BackendEntry) -> BackendValue {
    let placement = &entry.placement;
    BackendValue {
        address: address_bytes(entry.address.ip()),
        port: Be16::new(entry.address.port()),
        mac: placement.mac.unwrap_or_default(),
        ifindex: placement.ifindex,
        bridge: placement.bridge,
        listener: entry.listener.0,
        flags: flag(entry.address.is_ipv6(), IPV6)
            | flag(placement.masquerade, MASQUERADE)
            | flag(placement.reply_at_egress, REPLY_AT_EGRESS)
            | flag(placement.routed, ROUTED)
            | flag(entry.limited_by.is_some(), LIMITED),
        state: match entry.state {
            BackendState::Active => ACTIVE,
            BackendState::Draining => DRAINING,
            BackendState::Dead => DEAD,
        },
        generation: entry.generation,
        mtu: placement.mtu,
        balancer: entry.limited_by.unwrap_or_default().0,
        weight: entry.weight,
    }
}

/// `None` for an absent backend.
pub(super) fn backend_entry(value: &BackendValue) -> Option<BackendEntry> {
    let state = match value.state {
        ACTIVE => BackendState::Active,
        DRAINING => BackendState::Draining,
        DEAD => BackendState::Dead,
        _ => return None,
    };
    Some(BackendEntry {
        listener: ListenerIndex(value.listener),
        address: SocketAddr::new(address(value), value.port.get()),
        placement: Placement {
            mac: Some(value.mac).filter(|mac| !mac.is_unset()),
            ifindex: value.ifindex,
            bridge: value.bridge,
            masquerade: value.flags & MASQUERADE != 0,
            reply_at_egress: value.flags & REPLY_AT_EGRESS != 0,
            routed: value.flags & ROUTED != 0,
            mtu: value.mtu,
        },
        state,
        weight: value.weight,
        generation: value.generation,
        limited_by: (value.flags & LIMITED != 0).then_some(BalancerIndex(value.balancer)),
    })
}

fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn address(value: &BackendValue) -> IpAddr {
    if value.flags & IPV6 != 0 {
        return IpAddr::from(value.address);
    }
    let [a, b, c, d, ..] = value.address;
    IpAddr::from([a, b, c, d])
}

/// A table as the words of its array, one for two slots; what is left over belongs to nobody.
pub(super) fn slot_words(table: &[BackendId]) -> impl Iterator<Item = u64> {
    let id = |at: Option<&BackendId>| at.map_or(0, |id| id.0);
    table.chunks(2).map(move |pair| SlotPair([id(pair.first()), id(pair.get(1))]).word())
}

/// The number of slots of the table in an array. They all belong to somebody, so it ends before nobody's.
pub(super) fn slots(words: &[AtomicU64]) -> usize {
    let pair = |word: &AtomicU64| SlotPair::of_word(word.load(Ordering::Relaxed));
    let last = words.iter().map(pair).enumerate().rfind(|(_, pair)| pair.0 != [0, 0]);
    last.map_or(0, |(position, pair)| position * 2 + if pair.0[1] == 0 { 1 } else { 2 })
}

/// The table in an array.
pub(super) fn table(words: &[AtomicU64]) -> Vec<BackendId> {
    let pairs = words.iter().map(|word| SlotPair::of_word(word.load(Ordering::Relaxed)));
    pairs.flat_map(|pair| pair.0).map(BackendId).take(slots(words)).collect()
}

pub(super) fn port_value(port: &Port, hook: Hook, accounted: bool) -> PortValue {
    let faces_network = matches!(port.role, Role::Uplink | Role::Routed);
    PortValue {
        flags: ATTACHED
            | flag(faces_network, UPLINK)
            | flag(port.partial_checksums, PARTIAL_CHECKSUMS)
            | flag(hook == Hook::XdpGeneric, GENERIC)
            | flag(accounted, ACCOUNTED),
        bridge: port.bridge,
        mac: port.mac,
        mtu: port.mtu,
    }
}

/// `config` with other time-outs.
pub(super) fn with_timeouts(config: ConfigValue, timeouts: &Timeouts) -> ConfigValue {
    ConfigValue {
        tcp_opening: ticks(timeouts.tcp_opening),
        tcp_established: ticks(timeouts.tcp_established),
        tcp_closing: ticks(timeouts.tcp_closing),
        udp_opening: ticks(timeouts.udp_opening),
        udp_established: ticks(timeouts.udp_established),
        ..config
    }
}

const fn flag(set: bool, bit: u32) -> u32 {
    if set { bit } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_common::config::{MAX_TIMEOUT, TICK_SHIFT};

    use super::*;
    use crate::datapath::model::Mac;
    use proptest::prelude::*;

    prop_compose! {
        fn entry()(
            address: IpAddr, port: u16, mac in proptest::option::of(1_u8..), ifindex: u32, bridge: u32,
            listener: u32, bits: [bool; 3], generation: u8, weight: u16, mtu: u16,
            limited_by in proptest::option::of(0_u16..),
            state in prop::sample::select(vec![BackendState::Active, BackendState::Draining, BackendState::Dead]),
        ) -> BackendEntry {
            let placement = Placement {
                mac: mac.map(|last| Mac([2, 0, 0, 0, 0, last])),
                ifindex,
                bridge,
                masquerade: bits[0],
                reply_at_egress: bits[1],
                routed: bits[2],
                mtu,
            };
            let address = SocketAddr::new(address, port);
            let (listener, limited_by) = (ListenerIndex(listener), limited_by.map(BalancerIndex));
            BackendEntry { listener, address, placement, state, weight, generation, limited_by }
        }
    }

    proptest! {
        #[test]
        fn backends_are_read_back(entry in entry()) {
            prop_assert_eq!(backend_entry(&backend_value(&entry)), Some(entry));
        }

        #[test]
        fn tables_are_read_back(ids in proptest::collection::vec(1_u32..9, 0..9)) {
            let ids: Vec<_> = ids.into_iter().map(BackendId).collect();
            let words: Vec<_> = slot_words(&ids).map(AtomicU64::new).collect();
            prop_assert_eq!(slots(&words), ids.len());
            prop_assert_eq!(table(&words), ids);
        }

        #[test]
        fn listeners_and_vips_are_read_back(
            index: u32, slots: u32, drop_unserved: bool, affinity: u16, balancer: u16, bits: [bool; 4],
            selection in prop::sample::select(vec![
                Selection::Maglev, Selection::Random, Selection::LeastConnections,
            ]),
        ) {
            let [filtered, limited, strict, leased] = bits;
            let terms = Terms { balancer: BalancerIndex(balancer), filtered, limited, strict };
            let index = ListenerIndex(index);
            let entry = ListenerEntry { index, slots, drop_unserved, selection, affinity, terms };
            prop_assert_eq!(listener_entry(listener_value(entry)), entry);
            let policy = VipPolicy { drop_unserved, leased };
            prop_assert_eq!(vip_policy(vip_value(policy)), policy);
        }
    }

    #[test]
    fn times_become_ticks_that_are_not_shorter() {
        assert_eq!(ticks(Duration::from_secs(10)), 5);
        assert_eq!(ticks(Duration::from_nanos(1 << TICK_SHIFT)), 1);
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_hours(100)), MAX_TIMEOUT);
    }

    #[test]
    fn a_rate_that_no_agent_wrote_is_none_that_is_asked_for() {
        let drifted = LimitsValue {
            flows: Rate { per_second: 5, interval: 7 },
            ..limits_value(CheckedLimits::default())
        };
        assert_eq!(limits(&drifted).flows, u32::MAX);
    }

    #[test]
    fn an_absent_backend_is_left_out() {
        assert_eq!(backend_entry(&BackendValue::default()), None);
    }
}
