//! Listening to events, and flows that are over by their age.

use std::time::Duration;

use aya::maps::{HashMap, Map, MapData};
use lb_common::config::EVENTS_WANTED;
use lb_common::event::FlowStats;
use lb_common::flow::OverflowKey;
use lb_common::head::State;
use lb_common::stats::Traffic;

use super::super::*;
use super::flows::{Rig, flow};
use super::{SETTINGS, in_namespace};
use crate::datapath::observe::ObserveError;
use crate::datapath::observe::event::Happening;

const ACCOUNTED: config::Datapath = config::Datapath { flow_accounting: true, ..SETTINGS };

fn pinned(kernel: &Kernel, name: &'static str) -> MapData {
    MapData::from_pin(kernel.pins.map(name)).unwrap()
}

fn is_wanted(kernel: &Kernel) -> bool {
    kernel.maps.settings.config().flags & EVENTS_WANTED != 0
}

fn stats(kernel: &Kernel) -> HashMap<MapData, OverflowKey<Ipv4>, FlowStats> {
    Map::HashMap(pinned(kernel, map::FLOW_STATS_V4)).try_into().unwrap()
}

#[test]
fn events_are_written_while_somebody_listens_who_lives_and_is_alone() {
    in_namespace(|directory| {
        let kernel = directory.open().unwrap();
        let door = kernel.observation();
        assert!(!is_wanted(&kernel));
        let mut first = door.listen().unwrap();
        assert!(is_wanted(&kernel));
        assert!(matches!(door.listen(), Err(ObserveError::Listened)));
        assert!(first.events(Duration::ZERO).unwrap().is_empty());
        drop(first);
        assert!(!is_wanted(&kernel));
        // Never dropped: as after SIGKILL.
        std::mem::forget(door.listen().unwrap());
        assert!(is_wanted(&kernel));
        drop((door, kernel));
        assert!(!is_wanted(&directory.open().unwrap()));
    });
}

#[test]
fn a_flow_that_is_over_by_its_age_is_told_with_what_it_carried() {
    in_namespace(|directory| {
        let rig = Rig::new(&directory, &ACCOUNTED);
        let old = rig.now.wrapping_sub(rig.config.tcp_established + 1);
        let (idle, closed) = (flow(1, State::Established, old), flow(2, State::Closing, old));
        for half in [idle, idle.twin(), closed, flow(3, State::Established, rig.now)] {
            assert!(rig.put(&half));
        }
        let mut counted = stats(&rig.kernel);
        let forward = Traffic { packets: 3, bytes: 300 };
        let reply = Traffic { packets: 2, bytes: 200 };
        counted.insert(OverflowKey::from(idle.key), FlowStats { opened: 1, forward, reply }, 0).unwrap();
        let mut listening = rig.kernel.observation().listen().unwrap();
        rig.kernel.flow_table().age().unwrap();
        let events = listening.events(Duration::ZERO).unwrap();
        // Of the one that was closing, the packet that closed it has told.
        let [Happening::Closed { flow, carried: Some(carried) }] =
            &events.iter().map(|event| event.happening.clone()).collect::<Vec<_>>()[..]
        else {
            panic!("{events:?}")
        };
        assert_eq!(flow.client, "198.18.0.1:40000".parse().unwrap());
        assert_eq!((carried.forward_bytes, carried.reply_packets), (300, 2));
        assert_eq!(counted.keys().count(), 0);
    });
}

#[test]
fn accounts_of_flows_whose_place_is_taken_are_closed() {
    in_namespace(|directory| {
        let rig = Rig::new(&directory, &ACCOUNTED);
        let (there, gone) = (flow(1, State::Established, rig.now), flow(2, State::Established, rig.now));
        assert!(rig.put(&there));
        let mut counted = stats(&rig.kernel);
        for flow in [there, gone] {
            counted.insert(OverflowKey::from(flow.key), FlowStats::default(), 0).unwrap();
        }
        // A look comes with one walk of so many.
        for _ in 0..64 {
            rig.kernel.flow_table().age().unwrap();
        }
        let left: Vec<_> = counted.keys().map(Result::unwrap).collect();
        assert_eq!(left, [OverflowKey::from(there.key)]);
        drop(rig);
        // Not wanted any more.
        let kernel = directory.open().unwrap();
        assert_eq!(stats(&kernel).keys().count(), 0);
    });
}
