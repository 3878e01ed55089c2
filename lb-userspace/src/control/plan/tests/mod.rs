mod changes;
mod life;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Capacity, Catalogue, Plan, Planner, REUSE_AFTER};
use crate::control::model::{Desired, DesiredBackend, DesiredListener};
use crate::datapath::Datapath;
use crate::datapath::memory::Memory;
use crate::datapath::model::{
    BackendEntry, BackendId, BackendState, Command, ListenerAddress, Mac, Observed, Placement, Protocol,
    Table, VipPolicy,
};

const CAPACITY: Capacity = Capacity { listeners: 64, backends: 256 };

fn server(last: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), 8080))
}

fn vip(last: u8) -> IpAddr {
    IpAddr::from([203, 0, 113, last])
}

fn listener(vip_last: u8, port: u16) -> ListenerAddress {
    ListenerAddress::new(vip(vip_last), port, Protocol::Tcp)
}

fn backend(weight: u32, admitted: bool, ifindex: u32) -> DesiredBackend {
    let placement = Placement { mac: Some(Mac([2, 0, 0, 0, 0, 1])), ifindex, ..Placement::default() };
    DesiredBackend { weight, admitted, placement }
}

/// One listener on 203.0.113.1:80 with backends of weight 1, admitted or not.
fn one_listener(backends: &[(u8, bool)]) -> Desired {
    let backends = backends.iter().map(|&(last, admitted)| (server(last), backend(1, admitted, 3))).collect();
    let entry = DesiredListener { slots: 251, backends, ..DesiredListener::default() };
    Desired {
        vips: BTreeMap::from([(vip(1), VipPolicy::default())]),
        listeners: BTreeMap::from([(listener(1, 80), entry)]),
        ..Desired::default()
    }
}

prop_compose! {
    fn backends()(
        entries in proptest::collection::btree_map(1_u8..8, (0_u32..4, any::<bool>(), 1_u32..3), 0..5),
    ) -> BTreeMap<SocketAddr, DesiredBackend> {
        let entry = |(last, (weight, admitted, ifindex))| (server(last), backend(weight, admitted, ifindex));
        entries.into_iter().map(entry).collect()
    }
}

prop_compose! {
    fn desired()(
        entries in proptest::collection::btree_map(
            (1_u8..3, 80_u16..83),
            (any::<bool>(), any::<bool>(), backends()),
            0..5,
        ),
        drop_unserved: bool,
    ) -> Desired {
        let policy = VipPolicy { drop_unserved, ..VipPolicy::default() };
        let vips = entries.keys().map(|&(last, _)| (vip(last), policy)).collect();
        let listeners = entries.into_iter().map(|((last, port), (drop_unserved, large, backends))| {
            let slots = if large { 1021 } else { 251 };
            (listener(last, port), DesiredListener { drop_unserved, slots, backends, ..DesiredListener::default() })
        });
        Desired { vips, listeners: listeners.collect(), ..Desired::default() }
    }
}

struct Node {
    planner: Planner,
    catalogue: Catalogue,
    datapath: Memory,
    now: Instant,
}

impl Node {
    fn new() -> Self {
        Self {
            planner: Planner::new(CAPACITY, 7),
            catalogue: Catalogue::default(),
            datapath: Memory::default(),
            now: Instant::now(),
        }
    }

    /// The agent ends, and another one begins.
    fn restart(&mut self) {
        *self = Self { datapath: self.datapath.clone(), now: self.now, ..Self::new() };
    }

    fn observe(&self) -> Observed {
        self.datapath.observe().unwrap()
    }

    fn plan(&mut self, desired: &Desired) -> Plan {
        self.catalogue.replace(self.observe(), self.now);
        self.planner.plan(desired, &self.catalogue, self.now)
    }

    fn reach(&mut self, desired: &Desired) -> Vec<Command> {
        let plan = self.plan(desired);
        for command in &plan.commands {
            self.datapath.execute(command).unwrap();
            self.catalogue.apply(command, self.now);
        }
        plan.commands
    }

    fn entry(&self, last: u8) -> (BackendId, BackendEntry) {
        let observed = self.observe();
        let mut found = observed.backends.into_iter().filter(|(_, entry)| entry.address == server(last));
        found.next_back().unwrap()
    }
}

/// Whether a listener has a table that its entry uses.
fn is_served(observed: &Observed, address: ListenerAddress) -> bool {
    let entry = observed.listeners.get(&address);
    entry.is_some_and(|entry| {
        entry.slots > 0
            && observed.tables.get(&entry.index).is_some_and(|table| table.len() >= entry.slots as usize)
    })
}

fn points_only_to_living(observed: &Observed) -> bool {
    let living =
        |id: BackendId| observed.backends.get(&id).is_some_and(|entry| entry.state != BackendState::Dead);
    observed.tables.values().flat_map(Table::iter).all(living)
}

/// What clients get of a desired state: per listener the servers that take new flows.
fn servers_of(observed: &Observed, address: ListenerAddress) -> BTreeMap<SocketAddr, usize> {
    let mut servers = BTreeMap::new();
    let entry = observed.listeners[&address];
    for id in observed.tables.get(&entry.index).into_iter().flat_map(Table::iter) {
        *servers.entry(observed.backends[&id].address).or_default() += 1;
    }
    servers
}

proptest! {
    #[test]
    fn applying_a_plan_leaves_nothing_to_do(first in desired(), second in desired()) {
        let mut node = Node::new();
        for wanted in [&first, &second, &first] {
            node.reach(wanted);
            prop_assert_eq!(node.plan(wanted), Plan::default());
            node.restart();
            prop_assert_eq!(node.plan(wanted), Plan::default(), "after a restart");
        }
    }

    #[test]
    fn applying_a_plan_reaches_the_desired_state(first in desired(), second in desired()) {
        let mut node = Node::new();
        node.reach(&first);
        node.reach(&second);
        let observed = node.observe();
        prop_assert_eq!(&observed.vips, &second.vips);
        prop_assert!(observed.listeners.keys().eq(second.listeners.keys()));
        for (&address, wanted) in &second.listeners {
            let takes = |backend: &DesiredBackend| backend.admitted && backend.weight > 0;
            let expected = wanted.backends.iter().filter(|(_, b)| takes(b)).map(|(server, _)| *server);
            prop_assert!(servers_of(&observed, address).into_keys().eq(expected));
            prop_assert_eq!(is_served(&observed, address), wanted.backends.values().any(takes));
        }
    }

    #[test]
    fn traffic_is_never_worse_in_between(first in desired(), second in desired()) {
        let mut node = Node::new();
        node.reach(&first);
        let before = node.observe();
        let plan = node.plan(&second);
        let mut after = node.datapath.clone();
        plan.commands.iter().for_each(|command| after.execute(command).unwrap());
        let after = after.observe().unwrap();
        let served: Vec<_> = first
            .listeners
            .keys()
            .filter(|&&address| is_served(&before, address) && is_served(&after, address))
            .collect();
        for command in &plan.commands {
            node.datapath.execute(command).unwrap();
            let between = node.observe();
            prop_assert!(points_only_to_living(&between), "after {command:?}");
            for &&address in &served {
                prop_assert!(is_served(&between, address), "{address:?} after {command:?}");
                prop_assert!(between.vips.contains_key(&address.vip));
            }
        }
    }

    #[test]
    fn a_plan_that_stops_half_way_is_completed_by_the_next(
        first in desired(), second in desired(), third in desired(), at: prop::sample::Index,
    ) {
        let mut node = Node::new();
        node.reach(&first);
        let commands = node.plan(&second).commands;
        let executed = at.index(commands.len() + 1);
        commands.iter().take(executed).for_each(|command| node.datapath.execute(command).unwrap());
        node.reach(&third);
        prop_assert_eq!(node.plan(&third), Plan::default());
        prop_assert!(points_only_to_living(&node.observe()));
    }
}

#[test]
fn an_unhealthy_backend_drains_and_keeps_its_id() {
    let mut node = Node::new();
    node.reach(&one_listener(&[(11, true), (12, true)]));
    let (id, _) = node.entry(11);
    node.reach(&one_listener(&[(11, false), (12, true)]));
    let (still, entry) = node.entry(11);
    assert_eq!((still, entry.state), (id, BackendState::Draining));
    assert_eq!(servers_of(&node.observe(), listener(1, 80)), BTreeMap::from([(server(12), 251)]));
    node.reach(&one_listener(&[(11, true), (12, true)]));
    assert_eq!((node.entry(11).0, node.entry(11).1.state), (id, BackendState::Active));
}

#[test]
fn a_backend_that_is_gone_is_dead_and_its_return_is_another_life() {
    let mut node = Node::new();
    node.reach(&one_listener(&[(11, true), (12, true)]));
    let (id, _) = node.entry(11);
    node.reach(&one_listener(&[(12, true)]));
    assert_eq!(node.entry(11).1.state, BackendState::Dead);
    node.reach(&one_listener(&[(11, true), (12, true)]));
    assert_ne!(node.entry(11).0, id);
}

#[test]
fn a_dead_id_serves_again_after_its_rest_in_the_next_generation() {
    let mut node = Node::new();
    node.reach(&one_listener(&[(11, true)]));
    let (id, entry) = node.entry(11);
    node.reach(&one_listener(&[]));
    // It rests from when it was seen dead.
    assert_eq!(node.reach(&one_listener(&[])), []);
    let short = Duration::from_secs(1);
    node.now += REUSE_AFTER.saturating_sub(short);
    node.reach(&one_listener(&[(12, true)]));
    assert_ne!(node.entry(12).0, id, "too early");
    node.now += short;
    node.reach(&one_listener(&[(12, true), (13, true)]));
    assert_eq!((node.entry(13).0, node.entry(13).1.generation), (id, entry.generation + 1));
}

#[test]
fn a_restart_lets_dead_ids_rest_anew() {
    let mut node = Node::new();
    node.reach(&one_listener(&[(11, true)]));
    let (id, _) = node.entry(11);
    node.reach(&one_listener(&[]));
    node.now += REUSE_AFTER;
    node.restart();
    node.reach(&one_listener(&[(12, true)]));
    assert_ne!(node.entry(12).0, id);
}

#[test]
fn a_backend_that_was_never_admitted_gets_no_entry() {
    let mut node = Node::new();
    node.reach(&one_listener(&[(11, false)]));
    assert!(node.observe().backends.is_empty());
    assert_eq!(node.observe().listeners[&listener(1, 80)].slots, 0);
}

#[test]
fn what_finds_no_room_is_named() {
    let mut node = Node::new();
    node.planner = Planner::new(Capacity { listeners: 1, backends: 2 }, 7);
    let mut desired = one_listener(&[(11, true), (12, true)]);
    desired.listeners.insert(listener(1, 81), DesiredListener { slots: 251, ..DesiredListener::default() });
    let plan = node.plan(&desired);
    assert_eq!(plan.unplaced_listeners, [listener(1, 81)]);
    assert_eq!(plan.unplaced_backends, [(listener(1, 80), server(12))]);
}

#[test]
fn a_listener_opens_after_its_table_and_before_its_vip() {
    let commands = Node::new().reach(&one_listener(&[(11, true)]));
    let [Command::PutBackend(..), Command::PutTable(..), Command::PutListener(..), Command::PutVip(..)] =
        commands.as_slice()
    else {
        panic!("{commands:?}");
    };
}

#[test]
fn an_index_rests_while_backends_live_that_count_for_it() {
    let mut node = Node::new();
    node.reach(&one_listener(&[(11, true)]));
    let index = |node: &Node, port| node.observe().listeners[&listener(1, port)].index;
    let first = index(&node, 80);
    let moved = |port| {
        let mut desired = one_listener(&[(11, true)]);
        desired.listeners = desired.listeners.into_values().map(|entry| (listener(1, port), entry)).collect();
        desired
    };
    node.reach(&moved(81));
    assert_ne!(index(&node, 81), first);
    let lives = |entry: &BackendEntry| entry.listener == first && entry.state != BackendState::Dead;
    while node.observe().backends.values().any(lives) {
        node.now += REUSE_AFTER;
        node.reach(&moved(81));
    }
    node.reach(&moved(82));
    assert_eq!(index(&node, 82), first, "nobody counts for it any more");
}

#[test]
fn a_range_whose_ends_move_keeps_its_index_and_its_backends() {
    let range = |first, last| ListenerAddress { last_port: Some(last), ..listener(1, first) };
    let any_port = |last: u8| SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), 0));
    let desired = |address| {
        let backends = BTreeMap::from([(any_port(11), backend(1, true, 3))]);
        let entry = DesiredListener { slots: 251, backends, ..DesiredListener::default() };
        let single = DesiredListener { slots: 251, ..DesiredListener::default() };
        Desired {
            listeners: BTreeMap::from([(address, entry), (listener(1, 85), single)]),
            ..one_listener(&[])
        }
    };
    let mut node = Node::new();
    node.reach(&desired(range(80, 90)));
    let ports = |node: &Node| -> Vec<_> {
        node.observe().listeners.iter().map(|(a, entry)| (a.port, a.last_port, entry.index.0)).collect()
    };
    let single = node.observe().listeners[&listener(1, 85)].index.0;
    let whole = 1 - single;
    let blocks = |blocks: &[(u16, u16)]| -> Vec<_> {
        blocks.iter().map(|&(first, last)| (first, Some(last), whole)).collect()
    };
    let with_single = |mut found: Vec<_>| {
        found.push((85, None, single));
        found.sort_unstable();
        found
    };
    assert_eq!(ports(&node), with_single(blocks(&[(80, 87), (88, 89), (90, 90)])));
    for (first, last, expected) in [
        (88, 95, &[(88, 95)][..]),
        (80, 95, &[(80, 95)]),
        (1, 95, &[(1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 95)]),
    ] {
        node.reach(&desired(range(first, last)));
        assert_eq!(ports(&node), with_single(blocks(expected)));
        assert_eq!(node.plan(&desired(range(first, last))), Plan::default());
        let observed = node.observe();
        assert_eq!(observed.backends.len(), 1, "the same backend all the time");
        assert!(observed.backends.values().all(|entry| entry.state == BackendState::Active));
    }
}

/// A VM that moves to another node, or behind another port, is the same server.
#[test]
fn c9_a_backend_that_is_reached_otherwise_keeps_its_id() {
    let mut node = Node::new();
    let mut desired = one_listener(&[(11, true)]);
    node.reach(&desired);
    let (id, before) = node.entry(11);
    for backend in desired.listeners.values_mut().flat_map(|listener| listener.backends.values_mut()) {
        backend.placement.ifindex += 1;
    }
    let commands = node.reach(&desired);
    let moved = BackendEntry {
        placement: Placement { ifindex: before.placement.ifindex + 1, ..before.placement },
        ..before
    };
    assert_eq!(commands, [Command::PutBackend(id, moved)], "one entry, in place");
}
