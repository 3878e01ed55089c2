//! Programs that are of this build are kept; those of another are replaced, however far an upgrade came.

use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::ProgramInfo;
use aya_obj::programs::XdpAttachType;
use lb_common::map::program;
use nix::sched::{CloneFlags, unshare};

use super::super::loaded::{self, Set};
use super::super::*;
use super::hooks::{port, ports, program_of, veth};
use super::{Directory, in_namespace};
use crate::datapath::port::Role;

/// What is in the places of the programs.
fn ids(kernel: &Kernel) -> Vec<u32> {
    programs::ids(&kernel.pins).unwrap()
}

/// All programs are in their places, and noted.
fn check(kernel: &Kernel) {
    let ids = ids(kernel);
    assert!(loaded::is(&kernel.pins, Set::Packets, kernel.build, &ids).unwrap());
    let (stages, attached) = ids.split_at(program::STAGES.len());
    assert!(attached.iter().all(|id| stages.contains(id)), "one set: {ids:?}");
}

/// Opens the pins twice: first, none of these programs is kept, then all.
fn replaces(directory: &Directory, old: &[u32]) -> Vec<u32> {
    let kernel = directory.open().unwrap();
    check(&kernel);
    let new = ids(&kernel);
    assert!(new.iter().all(|id| !old.contains(id)), "{new:?} where {old:?} were");
    drop(kernel);
    assert_eq!(ids(&directory.open().unwrap()), new);
    new
}

/// The first steps of an upgrade.
fn begin_upgrade(pins: &Pins, programs: &mut Ebpf, steps: usize) {
    for &(array, stage, name) in program::STAGES.iter().take(steps) {
        let mut stages: ProgramArray<MapData> = maps::open(pins, array).unwrap();
        stages.set(stage as u32, programs.program(name).unwrap().fd().unwrap(), 0).unwrap();
    }
    for name in programs::ATTACHED.iter().take(steps.saturating_sub(program::STAGES.len())) {
        programs::pin(programs.program_mut(name).unwrap(), pins, name).unwrap();
    }
}

#[test]
fn programs_of_this_build_are_kept() {
    in_namespace(|directory| {
        let kernel = directory.open().unwrap();
        let before = ids(&kernel);
        check(&kernel);
        drop(kernel);
        let kernel = directory.open().unwrap();
        assert_eq!(ids(&kernel), before);
        check(&kernel);
    });
}

#[test]
fn programs_of_an_agent_that_notes_nothing_or_other_things_are_replaced() {
    in_namespace(|directory| {
        let kernel = directory.open().unwrap();
        let (old, pins) = (ids(&kernel), kernel.pins.clone());
        drop(kernel);
        let noted = pins.map(loaded::LOADED);
        std::fs::remove_file(&noted).unwrap();
        let old = replaces(&directory, &old);

        std::fs::remove_file(&noted).unwrap();
        let other = aya::maps::Array::<MapData, u64>::create(1, 0).unwrap();
        other.pin(&noted).unwrap();
        replaces(&directory, &old);
    });
}

#[test]
fn a_note_of_which_nothing_can_be_read_tells_nothing() {
    in_namespace(|directory| {
        let kernel = directory.open().unwrap();
        let (old, pins) = (ids(&kernel), kernel.pins.clone());
        drop(kernel);
        let noted = pins.map(loaded::LOADED);
        std::fs::remove_file(&noted).unwrap();
        let program = aya::programs::Xdp::from_pin(pins.program(program::XDP), XdpAttachType::Interface);
        program.unwrap().pin(&noted).unwrap();
        replaces(&directory, &old);
    });
}

#[test]
fn another_object_is_another_build() {
    in_namespace(|directory| {
        let kernel = directory.open().unwrap();
        assert_eq!(Build::of(OBJECT, &kernel.pins).unwrap(), kernel.build);
        assert_ne!(Build::of(&OBJECT[1..], &kernel.pins).unwrap(), kernel.build);
    });
}

/// Their constant is another one.
#[test]
fn programs_for_another_network_are_replaced() {
    in_namespace(|directory| {
        let old = ids(&directory.open().unwrap());
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        replaces(&directory, &old);
    });
}

/// They would go on with the map that nobody fills any more.
#[test]
fn programs_over_a_map_whose_pin_is_gone_are_replaced() {
    in_namespace(|directory| {
        let kernel = directory.open().unwrap();
        let old = ids(&kernel);
        std::fs::remove_file(kernel.pins.map(map::BACKENDS)).unwrap();
        drop(kernel);
        replaces(&directory, &old);
    });
}

#[test]
fn an_upgrade_that_was_killed_anywhere_is_finished_by_the_next_agent() {
    in_namespace(|directory| {
        let ifindex = veth("up0");
        let wanted = ports(&[port(ifindex, "up0", Role::Uplink, config::Hook::Xdp)]);
        let mut kernel = directory.open().unwrap();
        kernel.serve(&wanted).unwrap();
        let pins = kernel.pins.clone();
        drop(kernel);
        let stages = program::STAGES.len();
        for steps in [1, stages, stages + 1, stages + programs::ATTACHED.len()] {
            let mut programs = programs::object(&pins, &BTreeMap::new()).unwrap();
            let load = |name| programs::load_one(programs.program_mut(name).unwrap());
            program::STAGES.iter().map(|(_, _, name)| *name).try_for_each(load).unwrap();
            begin_upgrade(&pins, &mut programs, steps);
            let old = programs::ids(&pins).unwrap();
            drop(programs);

            let mut kernel = directory.open().unwrap();
            check(&kernel);
            let new = ids(&kernel);
            assert!(new.iter().all(|id| !old.contains(id)), "after {steps} steps");
            kernel.serve(&wanted).unwrap();
            assert_eq!(program_of("up0"), programs::pinned(&pins, program::XDP), "after {steps} steps");
        }
    });
}

#[test]
fn a_stage_that_somebody_has_removed_is_put_back() {
    in_namespace(|directory| {
        let kernel = directory.open().unwrap();
        let (old, pins) = (ids(&kernel), kernel.pins.clone());
        drop(kernel);
        let (array, stage, _) = program::STAGES[5];
        let mut stages: ProgramArray<MapData> = maps::open(&pins, array).unwrap();
        stages.clear_index(&(stage as u32)).unwrap();
        assert_eq!(programs::ids(&pins), None);
        replaces(&directory, &old);
    });
}

/// A link that runs something else, as after a capture whose agent was killed, runs the pinned program again.
#[test]
fn links_run_the_programs_that_are_kept() {
    in_namespace(|directory| {
        let ifindex = veth("up0");
        let wanted = ports(&[port(ifindex, "up0", Role::Uplink, config::Hook::Xdp)]);
        let mut kernel = directory.open().unwrap();
        kernel.serve(&wanted).unwrap();
        let before = ids(&kernel);
        let (pins, other) = (kernel.pins.clone(), Directory::new());
        drop(kernel);
        let name = links::names(&pins).unwrap().into_iter().find(|name| name.place == links::Place::Xdp);
        let link = pins.link(&name.unwrap().to_string());
        let foreign = raw::open_pin(&other.open().unwrap().pins.program(program::XDP)).unwrap();
        assert!(links::take_over(&link, std::os::fd::AsFd::as_fd(&foreign)).unwrap());
        assert_ne!(program_of("up0"), programs::pinned(&pins, program::XDP));

        let kernel = directory.open().unwrap();
        assert_eq!(ids(&kernel), before);
        let pinned = ProgramInfo::from_pin(pins.program(program::XDP)).unwrap();
        assert_eq!(program_of("up0"), Some(pinned.id()));
    });
}
