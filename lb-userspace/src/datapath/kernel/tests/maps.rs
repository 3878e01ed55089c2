//! What is in the maps, and who may adopt them.

use aya::maps::{Array, MapData};

use super::super::*;
use super::{
    LISTENER, LISTENER_V6, PIECE, PIECE_V6, SETTINGS, backend, commands, fill, in_namespace, policy_commands,
    subnet,
};
use crate::datapath::counters::{Stats, Traffic};
use crate::datapath::model::{BackendState, Table, VipPolicy};

#[test]
fn what_was_executed_is_observed() {
    in_namespace(|directory| {
        let mut kernel = directory.open().unwrap();
        assert_eq!(kernel.observe().unwrap(), Observed::default());
        let mut model = crate::datapath::memory::Memory::default();
        for command in commands() {
            kernel.execute(&command).unwrap();
            model.execute(&command).unwrap();
            assert_eq!(kernel.observe().unwrap(), model.observe().unwrap(), "{command:?}");
        }
        for command in [
            Command::RemoveVip(LISTENER.vip),
            Command::RemoveListener(LISTENER),
            Command::RemoveVip(LISTENER_V6.vip),
            Command::RemoveListener(LISTENER_V6),
            Command::RemoveTable(ListenerIndex(5)),
            Command::PutBackend(BackendId(1), backend(BackendState::Dead, 0)),
        ] {
            for _ in 0..2 {
                kernel.execute(&command).unwrap();
                model.execute(&command).unwrap();
                assert_eq!(kernel.observe().unwrap(), model.observe().unwrap(), "{command:?}");
            }
        }
    });
}

#[test]
fn ranges_and_limits_that_were_executed_are_observed() {
    in_namespace(|directory| {
        let mut kernel = directory.open().unwrap();
        let mut model = crate::datapath::memory::Memory::default();
        let removals = [
            Command::RemoveListener(PIECE),
            Command::RemoveListener(PIECE_V6),
            Command::RemoveSource(BalancerIndex(3), subnet("198.51.100.0/24")),
            Command::RemoveSource(BalancerIndex(300), subnet("2001:db8::/63")),
            Command::RemoveSource(BalancerIndex(3), subnet("0.0.0.0/0")),
            Command::PutLimits(BalancerIndex(3), CheckedLimits::default()),
            Command::PutLimits(BalancerIndex(4095), CheckedLimits::default()),
        ];
        for command in policy_commands().iter().chain(&removals).chain(&removals) {
            kernel.execute(command).unwrap();
            model.execute(command).unwrap();
            assert_eq!(kernel.observe().unwrap(), model.observe().unwrap(), "{command:?}");
        }
        assert_eq!(kernel.observe().unwrap(), Observed::default());
    });
}

#[test]
fn every_table_size_fits() {
    in_namespace(|directory| {
        // The programs declare the tables with BPF_F_INNER_MAP, else all would have to be of one size.
        let mut kernel = directory.open().unwrap();
        for slots in lb_common::maglev::SIZES {
            let table = Table::from(vec![BackendId(7); slots as usize]);
            kernel.execute(&Command::PutTable(ListenerIndex(0), table.clone())).unwrap();
            assert_eq!(kernel.observe().unwrap().tables[&ListenerIndex(0)], table);
        }
    });
}

/// Each replacement of a table waited for all packets under way: a thousand tables took a minute.
#[test]
fn a_table_of_as_many_slots_is_changed_where_it_is() {
    in_namespace(|directory| {
        let mut kernel = directory.open().unwrap();
        let put = |kernel: &mut Kernel, slots: &[u32]| {
            let table: Table = slots.iter().copied().map(BackendId).collect();
            kernel.execute(&Command::PutTable(ListenerIndex(0), Table::clone(&table))).unwrap();
            assert_eq!(kernel.observe().unwrap().tables[&ListenerIndex(0)], table);
            crate::datapath::kernel::raw::id_at(kernel.maps.outer(), 0).unwrap().unwrap()
        };
        let first = put(&mut kernel, &[1, 2, 3, 4, 5]);
        assert_eq!(put(&mut kernel, &[1, 9, 3, 8, 7]), first);
        assert_ne!(put(&mut kernel, &[1, 9, 3, 8]), first, "another size is another map");
    });
}

/// Many are swapped in by one system call.
#[test]
fn tables_are_put_together_as_one_by_one() {
    in_namespace(|directory| {
        let mut kernel = directory.open().unwrap();
        let tables: Vec<_> = (0..40_u32)
            .map(|index| Command::PutTable(ListenerIndex(index), vec![BackendId(index + 1); 251].into()))
            .collect();
        kernel.execute_together(&tables).unwrap();
        let observed = kernel.observe().unwrap();
        let mut expected = Observed::default();
        for command in &tables {
            expected.apply(command);
        }
        assert_eq!(observed.tables, expected.tables);
    });
}

#[test]
fn the_next_agent_adopts_what_is_pinned_and_changes_nothing() {
    in_namespace(|directory| {
        let mut first = directory.open().unwrap();
        fill(&mut first);
        let (before, seed) = (first.observe().unwrap(), first.maglev_seed().unwrap());
        let config = first.maps.settings.config();
        drop(first);
        let second = directory.open().unwrap();
        assert_eq!(second.observe().unwrap(), before);
        assert_eq!(second.maglev_seed().unwrap(), seed);
        assert_eq!(second.maps.settings.config(), config);
        assert_ne!(config.flow_secrets, config.maglev_secrets);
        assert_eq!(config.bucket_mask, 255);
    });
}

#[test]
fn timeouts_follow_the_configuration() {
    in_namespace(|directory| {
        let before = directory.open().unwrap().maps.settings.config();
        let mut settings = SETTINGS;
        settings.timeouts.tcp_closing *= 10;
        let kernel = Kernel::open(&directory.0, &settings).unwrap();
        let after = kernel.maps.settings.config();
        assert_eq!((before.tcp_closing, after.tcp_closing), (5, 47));
        assert_eq!(after.flow_secrets, before.flow_secrets);
    });
}

#[test]
fn a_pinned_map_of_another_shape_is_refused_and_left_alone() {
    in_namespace(|directory| {
        let mut kernel = directory.open().unwrap();
        fill(&mut kernel);
        let before = kernel.observe().unwrap();
        let larger = config::Datapath { max_backends: 512, ..SETTINGS };
        let text = Kernel::open(&directory.0, &larger).err().unwrap().to_string();
        assert!(text.contains("BACKEND"), "{text}");
        assert!(text.contains("its number of entries is 256, and 512 is wanted"), "{text}");
        assert!(text.contains("lb agent --detach"), "{text}");
        assert_eq!(kernel.observe().unwrap(), before);
        assert_eq!(directory.open().unwrap().observe().unwrap(), before);
    });
}

/// It would have to be read element by element.
#[test]
fn pinned_backends_that_cant_be_mapped_are_refused_and_left_alone() {
    in_namespace(|directory| {
        let path = directory.open().unwrap().pins.map(map::BACKENDS);
        std::fs::remove_file(&path).unwrap();
        let former = Array::<MapData, BackendValue>::create(SETTINGS.max_backends, 0).unwrap();
        former.pin(&path).unwrap();
        let id = MapInfo::from_pin(&path).unwrap().id();
        let text = directory.open().err().unwrap().to_string();
        assert!(text.contains("BACKENDS has another shape: its flags is 0, and 1024 is wanted"), "{text}");
        assert!(text.contains("lb agent --detach"), "{text}");
        assert_eq!(MapInfo::from_pin(&path).unwrap().id(), id);
    });
}

#[test]
fn a_pin_directory_elsewhere_is_refused() {
    in_namespace(|_| {
        let error = Kernel::open(Path::new("/proc/lb"), &SETTINGS).err().unwrap();
        assert!(matches!(error, KernelError::NotOnBpffs(_)), "{error}");
    });
}

#[test]
fn the_counters_of_a_reused_id_start_from_zero() {
    in_namespace(|directory| {
        let mut kernel = directory.open().unwrap();
        fill(&mut kernel);
        let cpus = aya::util::nr_cpus().unwrap();
        let counted = Stats { flows: 3, ..Stats::default() };
        let values = aya::maps::PerCpuValues::try_from(vec![counted; cpus]).unwrap();
        kernel.maps.backend_stats.set(1, values, 0).unwrap();
        let flows = |kernel: &Kernel| {
            let observed = kernel.observe().unwrap();
            kernel.counters(&observed).unwrap().backends[&BackendId(1)].flows
        };
        assert_eq!(flows(&kernel), 3 * cpus as u64);
        kernel.execute(&Command::PutBackend(BackendId(1), backend(BackendState::Draining, 0))).unwrap();
        kernel.execute(&Command::PutBackend(BackendId(1), backend(BackendState::Dead, 0))).unwrap();
        assert_eq!(flows(&kernel), 3 * cpus as u64, "the dead keep their counters");
        kernel.execute(&Command::PutBackend(BackendId(1), backend(BackendState::Active, 1))).unwrap();
        assert_eq!(flows(&kernel), 0);
        let flows = kernel.counters(&kernel.observe().unwrap()).unwrap().flows;
        assert_eq!((flows.v4.capacity, flows.v6.capacity), (1024, 1024));
    });
}

#[test]
fn what_a_listener_counts_is_what_its_backends_do_and_outlives_them() {
    in_namespace(|directory| {
        let mut kernel = directory.open().unwrap();
        fill(&mut kernel);
        let count = |kernel: &mut Kernel, packets| {
            let mut values = vec![Stats::default(); aya::util::nr_cpus().unwrap()];
            values[0] = Stats { forward: Traffic { packets, bytes: 100 * packets }, ..Stats::default() };
            kernel.maps.backend_stats.set(1, aya::maps::PerCpuValues::try_from(values).unwrap(), 0).unwrap();
        };
        let packets = |kernel: &Kernel| {
            let observed = kernel.observe().unwrap();
            let counters = kernel.counters(&observed).unwrap();
            let forward = counters.listeners[&observed.listeners[&LISTENER].index].forward;
            assert_eq!(forward.bytes, 100 * forward.packets);
            forward.packets
        };
        let put = |kernel: &mut Kernel, state, generation| {
            kernel.execute(&Command::PutBackend(BackendId(1), backend(state, generation))).unwrap();
        };
        count(&mut kernel, 7);
        assert_eq!(packets(&kernel), 7);
        put(&mut kernel, BackendState::Dead, 0);
        put(&mut kernel, BackendState::Dead, 0);
        assert_eq!(packets(&kernel), 7, "the dead one's, once");
        put(&mut kernel, BackendState::Active, 1);
        assert_eq!(packets(&kernel), 7, "the dead one's only");
        count(&mut kernel, 2);
        assert_eq!(packets(&kernel), 9);
        drop(kernel);
        let mut next = directory.open().unwrap();
        assert_eq!(packets(&next), 9, "after a restart");
        put(&mut next, BackendState::Dead, 1);
        let observed = next.observe().unwrap();
        let entry = observed.listeners[&LISTENER];
        next.execute(&Command::RemoveListener(LISTENER)).unwrap();
        next.execute(&Command::PutListener(LISTENER, entry)).unwrap();
        assert_eq!(packets(&next), 0, "another one begins");
    });
}

#[test]
fn whom_commands_name_the_programs_know_and_the_next_agent_forgets_who_is_gone() {
    in_namespace(|directory| {
        let mut first = directory.open().unwrap();
        let stranger = "198.51.100.77".parse().unwrap();
        assert!(!first.maps.settings.knows(stranger));
        fill(&mut first);
        let observed = first.observe().unwrap();
        let servers = observed.backends.values().map(|backend| backend.address.ip());
        let known: Vec<_> = observed.vips.keys().copied().chain(servers).collect();
        assert!(known.len() > 1 && known.iter().all(|&address| first.maps.settings.knows(address)));
        first.execute(&Command::PutVip(stranger, VipPolicy::default())).unwrap();
        first.execute(&Command::RemoveVip(stranger)).unwrap();
        assert!(first.maps.settings.knows(stranger), "its last flows may still be about");
        drop(first);
        let second = directory.open().unwrap();
        assert!(!second.maps.settings.knows(stranger));
        assert!(known.into_iter().all(|address| second.maps.settings.knows(address)));
    });
}

#[test]
fn tables_are_put_one_by_one_where_the_kernel_has_no_batches_of_maps() {
    in_namespace(|directory| {
        let kernel = directory.open().unwrap();
        let slots = [BackendId(3), BackendId(4)];
        let tables = [2, 5].map(|index| (index, kernel.maps.new_table(&slots).unwrap()));
        raw::set_one_by_one(kernel.maps.outer(), &tables).unwrap();
        let table: Table = slots.into_iter().collect();
        let expected = [2, 5].map(|index| (ListenerIndex(index), Table::clone(&table)));
        assert_eq!(kernel.observe().unwrap().tables, expected.into());
    });
}
