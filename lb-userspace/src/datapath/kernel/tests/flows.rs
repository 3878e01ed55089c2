//! The flow table, read and aged in place.

use std::sync::atomic::Ordering;

use aya::maps::{HashMap, MapData};
use lb_common::backend::BackendRef;
use lb_common::config::ConfigValue;
use lb_common::flow::{self, FlowEntry, FlowKey, OverflowKey};
use lb_common::hash;
use lb_common::head::{Head, Kind, State};
use lb_common::map;
use lb_common::net::{Be16, Ipv4, Ipv6};

use super::super::clock;
use super::super::flows::mapping::Mapping;
use super::super::*;
use super::{Directory, SETTINGS, backend, in_namespace};
use crate::datapath::flows::model::Flow;
use crate::datapath::model::{BackendState, Protocol};

/// The pinned table, to be written to as the packet programs would.
pub(super) struct Rig {
    pub(super) kernel: Kernel,
    pub(super) config: ConfigValue,
    mapping: Mapping,
    overflow: HashMap<MapData, OverflowKey<Ipv4>, FlowEntry<Ipv4>>,
    pub(super) now: u16,
}

impl Rig {
    pub(super) fn new(directory: &Directory, settings: &config::Datapath) -> Self {
        let kernel = Kernel::open(&directory.0, settings).unwrap();
        let pin = |name| MapData::from_pin(kernel.pins.map(name)).unwrap();
        let overflow = aya::maps::Map::LruHashMap(pin(map::OVERFLOW_V4)).try_into().unwrap();
        let (config, mapping) = (kernel.maps.settings.config(), Mapping::new(&pin(map::FLOWS_V4)).unwrap());
        let now = clock::tick(&config).unwrap();
        Self { kernel, config, mapping, overflow, now }
    }

    fn bucket(&self, key: &FlowKey<Ipv4>) -> usize {
        let ports = (key.source_port, key.destination_port);
        let hash = hash::tuple(&self.config.flow_secrets, key.source, key.destination, ports, key.protocol);
        (hash & self.config.bucket_mask) as usize * 16
    }

    /// Enters half a flow, as if nobody else were there. False: its bucket is full.
    pub(super) fn put(&self, flow: &flow::Flow<Ipv4>) -> bool {
        let entry = FlowEntry::new(flow, Head::default());
        // SAFETY: 32 bytes without padding, of which any pattern is four words.
        let words = unsafe { std::mem::transmute::<FlowEntry<Ipv4>, [u64; 4]>(entry) };
        let bucket = &self.mapping.words()[self.bucket(&flow.key)..][..16];
        let Some(free) = bucket.chunks(4).find(|place| place[0].load(Ordering::Relaxed) == 0) else {
            return false;
        };
        free.iter().zip(words).rev().for_each(|(place, word)| place.store(word, Ordering::Release));
        true
    }

    fn mark(&self, key: &FlowKey<Ipv4>) -> Head {
        Head(self.mapping.words()[self.bucket(key)].load(Ordering::Relaxed))
    }

    fn set_mark(&self, key: &FlowKey<Ipv4>) {
        let head = self.mark(key).spilled();
        self.mapping.words()[self.bucket(key)].store(head.0, Ordering::Relaxed);
    }

    fn read(&self) -> Vec<Flow> {
        let mut flows = Vec::new();
        self.kernel.flow_table().for_each_flow(&mut |flow| flows.push(*flow)).unwrap();
        flows.sort_by_key(|flow| flow.client);
        flows
    }
}

pub(super) fn flow(client: u32, state: State, last_seen: u16) -> flow::Flow<Ipv4> {
    flow::Flow {
        key: FlowKey {
            source: Ipv4((0xc612_0000 + client).to_be_bytes()),
            destination: Ipv4([203, 0, 113, 1]),
            source_port: Be16::new(40_000),
            destination_port: Be16::new(80),
            protocol: Protocol::Tcp,
        },
        address: Ipv4([192, 0, 2, 11]),
        source_port: Be16::new(40_000),
        destination_port: Be16::new(8080),
        backend: BackendRef::new(1 + client % 3, 7),
        next_hop: 0,
        last_seen,
        kind: Kind { state, reply: false, masquerade: client == 2, at_egress: false, partial: false },
    }
}

#[test]
fn flows_of_ipv6_are_read_beside_the_others() {
    in_namespace(|directory| {
        let rig = Rig::new(&directory, &SETTINGS);
        assert!(rig.put(&flow(1, State::Established, rig.now)));
        let address =
            |number| Ipv6::new(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number).octets());
        let FlowKey { source_port, destination_port, protocol, .. } = flow(1, State::Opening, 0).key;
        let key =
            FlowKey { source: address(1), destination: address(2), source_port, destination_port, protocol };
        let flow = flow::Flow {
            key,
            address: address(3),
            source_port,
            destination_port,
            backend: BackendRef::new(2, 7),
            next_hop: 0,
            last_seen: rig.now,
            kind: flow(1, State::Established, 0).kind,
        };
        // SAFETY: 72 bytes without padding, of which any pattern is nine words.
        let words = unsafe {
            std::mem::transmute::<FlowEntry<Ipv6>, [u64; 9]>(FlowEntry::new(&flow, Head::default()))
        };
        let hash = hash::tuple(
            &rig.config.flow_secrets,
            key.source,
            key.destination,
            (source_port, destination_port),
            protocol,
        );
        let table = Mapping::new(&MapData::from_pin(rig.kernel.pins.map(map::FLOWS_V6)).unwrap()).unwrap();
        let bucket = &table.words()[(hash & rig.config.bucket_mask) as usize * 36..];
        bucket.iter().zip(words).for_each(|(place, word)| place.store(word, Ordering::Relaxed));
        let [_, second] = rig.read()[..] else { panic!("{:?}", rig.read()) };
        assert_eq!(second.client, "[2001:db8::1]:40000".parse().unwrap());
        assert_eq!(second.vip, "[2001:db8::2]:80".parse().unwrap());
        assert_eq!(second.server, "[2001:db8::3]:80".parse().unwrap());
        let survey = rig.kernel.flow_table().survey().unwrap();
        assert_eq!((survey.v4.live, survey.v6.live), (1, 1), "each in its own table");
    });
}

#[test]
fn flows_are_read_where_they_stand() {
    in_namespace(|directory| {
        let rig = Rig::new(&directory, &SETTINGS);
        let idle = rig.now.wrapping_sub(3);
        for flow in [flow(1, State::Established, rig.now), flow(2, State::Opening, idle)] {
            assert!(rig.put(&flow) && rig.put(&flow.twin()));
        }
        // Expired long ago: an opening flow lives for a minute.
        assert!(rig.put(&flow(3, State::Opening, rig.now.wrapping_sub(60))));
        let [first, second] = rig.read()[..] else { panic!("{:?}", rig.read()) };
        assert_eq!((first.client, first.source), ("198.18.0.1:40000".parse().unwrap(), first.client));
        assert_eq!(first.vip, "203.0.113.1:80".parse().unwrap());
        assert_eq!(first.server, "192.0.2.11:8080".parse().unwrap());
        assert_eq!((first.state, first.backend), (State::Established, BackendRef::new(2, 7)));
        assert_eq!(second.source, "203.0.113.1:40000".parse().unwrap());
        assert!((6..20).contains(&second.idle.as_secs()), "{:?}", second.idle);
        let survey = rig.kernel.flow_table().survey().unwrap();
        assert_eq!((survey.v4.live, survey.v4.entries, survey.v4.capacity), (2, 5, 1024));
        assert_eq!(survey.of(BackendRef::new(2, 7)).established, 1);
        assert_eq!(survey.of(BackendRef::new(3, 7)).opening, 1);
        assert_eq!(survey.of(BackendRef::new(2, 6)).live(), 0);
        assert_eq!(rig.kernel.flow_table().survey().unwrap(), survey, "looking changes nothing");
    });
}

#[test]
fn what_has_expired_is_emptied_and_all_else_stays() {
    in_namespace(|directory| {
        let rig = Rig::new(&directory, &SETTINGS);
        let closed = rig.now.wrapping_sub(40);
        for flow in [flow(1, State::Established, closed), flow(4, State::Closing, closed)] {
            assert!(rig.put(&flow) && rig.put(&flow.twin()));
        }
        let table = rig.kernel.flow_table();
        let survey = table.age().unwrap();
        assert_eq!((survey.emptied, survey.v4.entries, survey.v4.live), (2, 4, 1));
        let survey = table.age().unwrap();
        assert_eq!((survey.emptied, survey.v4.entries, survey.v4.live), (0, 2, 1));
        assert_eq!(rig.read().len(), 1);
    });
}

#[test]
fn backends_loads_are_put_right_by_what_the_table_says() {
    in_namespace(|directory| {
        let mut rig = Rig::new(&directory, &SETTINGS);
        for (id, generation) in [(2, 7), (3, 8)] {
            let entry = backend(BackendState::Active, generation);
            rig.kernel.execute(&Command::PutBackend(BackendId(id), entry)).unwrap();
        }
        let loads =
            Mapping::new(&MapData::from_pin(rig.kernel.pins.map(map::BACKEND_LOAD)).unwrap()).unwrap();
        loads.words()[2].store(99, Ordering::Relaxed);
        // Two of backend 2, of which one is over, and one of an earlier life of backend 3.
        for flow in [flow(1, State::Established, rig.now), flow(4, State::Closing, rig.now)] {
            assert!(rig.put(&flow) && rig.put(&flow.twin()));
        }
        assert!(rig.put(&flow(2, State::Established, rig.now)));
        rig.kernel.flow_table().age().unwrap();
        let found: Vec<u64> = (1..4).map(|id: usize| loads.words()[id].load(Ordering::Relaxed)).collect();
        assert_eq!(found, [0, 1, 0]);
    });
}

#[test]
fn a_bucket_is_marked_as_long_as_flows_of_it_live_in_the_overflow_map() {
    in_namespace(|directory| {
        let mut rig = Rig::new(&directory, &SETTINGS);
        let (lives, is_over) = (flow(1, State::Established, rig.now), flow(2, State::Closing, 0));
        let over = flow::Flow { last_seen: rig.now.wrapping_sub(40), ..is_over };
        for flow in [lives, over] {
            let entry = FlowEntry::new(&flow, Head::default());
            rig.overflow.insert(OverflowKey::from(flow.key), entry, 0).unwrap();
            rig.set_mark(&flow.key);
        }
        let table = rig.kernel.flow_table();
        let survey = table.age().unwrap();
        assert_eq!((survey.v4.overflowed, survey.v4.live, survey.emptied), (2, 1, 1));
        assert!(rig.mark(&lives.key).overflowed());
        assert!(!rig.mark(&over.key).overflowed());
        assert_eq!(rig.read().iter().filter(|flow| flow.overflowed).count(), 1);
        assert_eq!(table.age().unwrap().v4.overflowed, 1);
    });
}

/// `LB_LONG=1 cargo test -p lb-userspace --lib -- a_million --nocapture` prints the times.
#[test]
fn a_million_entries_are_read_without_a_system_call_each() {
    in_namespace(|directory| {
        let long = std::env::var_os("LB_LONG").is_some();
        let entries = if long { 1 << 20 } else { 1 << 14 };
        let rig = Rig::new(&directory, &config::Datapath { flow_entries: entries, ..SETTINGS });
        let wanted = entries / 4;
        let flows = (0..).map(|client| flow(client, State::Established, rig.now));
        assert_eq!(flows.filter(|flow| rig.put(flow)).take(wanted as usize).count(), wanted as usize);
        let table = rig.kernel.flow_table();
        let began = std::time::Instant::now();
        let survey = table.age().unwrap();
        let aged = began.elapsed();
        let (mut seen, began) = (0, std::time::Instant::now());
        table.for_each_flow(&mut |_| seen += 1).unwrap();
        println!("{entries} entries: survey {aged:?}, then {seen} flows {:?}", began.elapsed());
        assert_eq!((survey.v4.live, seen), (wanted, wanted));
    });
}
