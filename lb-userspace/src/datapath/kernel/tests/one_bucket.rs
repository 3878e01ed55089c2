//! All CPUs and the agent at one bucket: whatever they do to one another, no frame is ever rewritten with
//! another flow's values.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use aya::maps::MapData;
use aya::programs::{Program, SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use etherparse::PacketBuilder;
use lb_common::hash;
use lb_common::head::{Head, State};
use lb_common::maglev::slot;
use lb_common::map;
use lb_common::net::{Be16, Ipv4};
use lb_common::port::{ATTACHED, PortValue, UPLINK};

use super::super::flows::mapping::Mapping;
use super::super::*;
use super::{Directory, SETTINGS, in_namespace};
use crate::datapath::model::{BackendState, Mac, Placement, Protocol, Selection, Terms, VipPolicy};

const CLIENT: [u8; 4] = [198, 51, 100, 10];
const VIP: [u8; 4] = [203, 0, 113, 80];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
const NODE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The interface on which test runs take place: the namespace's loopback.
const INTERFACE: u32 = 1;
const BRIDGE: u32 = 9;
const SLOTS: u32 = 251;
/// Three times as many halves as the bucket has entries.
const FLOWS: u16 = 6;
const FIRST_PORT: u16 = 40_000;

/// A backend's number is the last byte of its address and of its MAC.
fn server(backend: u32) -> [u8; 4] {
    [192, 0, 2, u8::try_from(backend).unwrap()]
}

fn server_mac(backend: u32) -> [u8; 6] {
    [2, 0, 0, 0, 1, u8::try_from(backend).unwrap()]
}

/// What may happen to a frame.
struct Exchange {
    sent: Vec<u8>,
    rewritten: Vec<u8>,
}

/// Opens, speaks, ends and resets: TCP flags in the order of the header's bits.
const SYN: u8 = 2;
const KINDS: [u8; 5] = [SYN, 16, 16 | 8, 1 | 16, 4];

fn tcp(macs: ([u8; 6], [u8; 6]), from: ([u8; 4], u16), to: ([u8; 4], u16), flags: u8) -> Vec<u8> {
    let mut header = etherparse::TcpHeader::new(from.1, to.1, 1, 1000);
    (header.fin, header.syn, header.rst) = (flags & 1 != 0, flags & SYN != 0, flags & 4 != 0);
    (header.psh, header.ack) = (flags & 8 != 0, flags & 16 != 0);
    let packet = PacketBuilder::ethernet2(macs.0, macs.1).ipv4(from.0, to.0, 64).tcp_header(header);
    let mut frame = Vec::new();
    packet.write(&mut frame, b"which one?").unwrap();
    frame
}

/// The only rewrites that a client's packets and their answers may have.
fn exchanges(port: u16, backend: u32) -> [Vec<Exchange>; 2] {
    let (client, vip, server, mac) =
        ((CLIENT, port), (VIP, 80), (server(backend), 8080), server_mac(backend));
    let forward = |flags| Exchange {
        sent: tcp((CLIENT_MAC, NODE_MAC), client, vip, flags),
        rewritten: tcp((CLIENT_MAC, mac), client, server, flags),
    };
    let reply = |flags| Exchange {
        sent: tcp((mac, CLIENT_MAC), server, client, flags),
        rewritten: tcp((mac, CLIENT_MAC), vip, client, flags),
    };
    // A server does not dial its client.
    let answers = KINDS.map(|flags| if flags == SYN { SYN | 16 } else { flags });
    [KINDS.map(forward).into(), answers.map(reply).into()]
}

struct Bench {
    kernel: Kernel,
    mapping: Mapping,
    backends: BTreeMap<u16, u32>,
}

impl Bench {
    fn new(directory: &Directory) -> Self {
        let mut kernel =
            Kernel::open(&directory.0, &config::Datapath { flow_entries: 4, ..SETTINGS }).unwrap();
        let ids = [11, 12, 13];
        for id in ids {
            let placement = Placement {
                mac: Some(Mac(server_mac(id))),
                ifindex: 5,
                bridge: BRIDGE,
                reply_at_egress: true,
                ..Placement::default()
            };
            let entry = BackendEntry {
                listener: ListenerIndex(0),
                address: (server(id), 8080).into(),
                placement,
                state: BackendState::Active,
                generation: 1,
                weight: 100,
                limited_by: None,
            };
            kernel.execute(&Command::PutBackend(BackendId(id), entry)).unwrap();
        }
        let table: Vec<_> = ids.into_iter().cycle().take(SLOTS as usize).map(BackendId).collect();
        let listener = ListenerAddress::new(VIP.into(), 80, Protocol::Tcp);
        let entry = ListenerEntry {
            index: ListenerIndex(0),
            slots: SLOTS,
            drop_unserved: true,
            selection: Selection::Maglev,
            affinity: 0,
            terms: Terms::default(),
        };
        kernel.execute(&Command::PutTable(ListenerIndex(0), table.clone())).unwrap();
        kernel.execute(&Command::PutListener(listener, entry)).unwrap();
        kernel.execute(&Command::PutVip(listener.vip, VipPolicy { drop_unserved: true })).unwrap();
        let port = PortValue { flags: ATTACHED | UPLINK, bridge: BRIDGE, mac: Mac(NODE_MAC), mtu: 1500 };
        kernel.maps.ports.set(INTERFACE, port, 0).unwrap();
        let secrets = kernel.maps.config.get(&0, 0).unwrap().maglev_secrets;
        let backend = |port: u16| {
            let ports = (Be16::new(port), Be16::new(80));
            let hash = hash::tuple(&secrets, Ipv4(CLIENT), Ipv4(VIP), ports, Protocol::Tcp);
            (port, table[slot(hash, SLOTS) as usize].0)
        };
        let backends = (FIRST_PORT..FIRST_PORT + FLOWS).map(backend).collect();
        let mapping = Mapping::new(&MapData::from_pin(kernel.pins.map(map::FLOWS_V4)).unwrap()).unwrap();
        Self { kernel, mapping, backends }
    }

    fn xdp(&self) -> &Xdp {
        match self.kernel.ebpf.program(program::XDP) {
            Some(Program::Xdp(xdp)) => xdp,
            _ => panic!("no XDP program"),
        }
    }

    fn egress(&self) -> &SchedClassifier {
        match self.kernel.ebpf.program(program::TC_EGRESS) {
            Some(Program::SchedClassifier(tc)) => tc,
            _ => panic!("no tc program"),
        }
    }

    /// Sends packets of all flows, both ways and in all moods, until time is up. Gives how many were rewritten.
    fn hammer(&self, mut random: u64, stop: &AtomicBool) -> u64 {
        let (xdp, egress) = (self.xdp(), self.egress());
        let pairs: Vec<_> = self.backends.iter().map(|(port, backend)| exchanges(*port, *backend)).collect();
        let mut rewritten = 0;
        let mut frame = vec![0; 256];
        while !stop.load(Ordering::Relaxed) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let pick = |shift: u32, count: usize| usize::try_from(random >> shift & 0xff).unwrap() % count;
            let is_reply = pick(8, 2);
            let exchange = &pairs[pick(16, pairs.len())][is_reply][pick(32, KINDS.len())];
            let options = TestRunOptions {
                data_in: Some(&exchange.sent),
                data_out: Some(&mut frame),
                ..TestRunOptions::new()
            };
            let ran = if is_reply == 1 { egress.test_run(options) } else { xdp.test_run(options) };
            let ran = ran.unwrap();
            let seen = &frame[..ran.data_size_out as usize];
            if seen == exchange.rewritten {
                rewritten += 1;
            } else {
                assert_eq!(seen, exchange.sent, "neither as it came nor as its flow has it");
            }
        }
        rewritten
    }

    /// Reads and ages the table until time is up, and checks what it reads. Gives how many entries it emptied.
    fn attend(&self, stop: &AtomicBool) -> u64 {
        let table = self.kernel.flow_table();
        let mut emptied = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut check = |flow: &crate::datapath::flows::model::Flow| {
                let backend = *self.backends.get(&flow.client.port()).unwrap_or_else(|| panic!("{flow:?}"));
                assert_eq!((flow.client.ip(), flow.source), (CLIENT.into(), flow.client));
                assert_eq!((flow.vip, flow.server), ((VIP, 80).into(), (server(backend), 8080).into()));
                assert_eq!(flow.backend.id(), backend);
            };
            table.for_each_flow(&mut check).unwrap();
            emptied += u64::from(table.age().unwrap().emptied);
        }
        emptied
    }

    /// Makes entries old until time is up.
    fn let_time_pass(&self, stop: &AtomicBool) {
        for way in (0..4).cycle() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let word: &AtomicU64 = &self.mapping.words()[way * 4 + 3];
            let before = word.load(Ordering::Relaxed);
            let aged = before.wrapping_sub(0x6000 << 48);
            // Lost where a program writes at the same moment.
            let _ = word.compare_exchange(before, aged, Ordering::Relaxed, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

#[test]
fn no_frame_is_rewritten_with_another_flows_values_whatever_happens_to_its_bucket() {
    let seconds = if std::env::var_os("LB_LONG").is_some() { 60 } else { 5 };
    in_namespace(move |directory| {
        let bench = Bench::new(&directory);
        let stop = AtomicBool::new(false);
        let (rewritten, emptied) = std::thread::scope(|scope| {
            let cpus = std::thread::available_parallelism().unwrap().get().max(2) as u64;
            let hammers: Vec<_> = (1..=cpus)
                .map(|seed| {
                    let (bench, stop) = (&bench, &stop);
                    scope.spawn(move || bench.hammer(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), stop))
                })
                .collect();
            let agent = scope.spawn(|| bench.attend(&stop));
            scope.spawn(|| bench.let_time_pass(&stop));
            let end = Instant::now() + Duration::from_secs(seconds);
            let is_over = || hammers.iter().any(ScopedJoinHandle::is_finished) || agent.is_finished();
            while Instant::now() < end && !is_over() {
                std::thread::sleep(Duration::from_millis(10));
            }
            stop.store(true, Ordering::Relaxed);
            let rewritten: u64 = hammers.into_iter().map(|thread| thread.join().unwrap()).sum();
            (rewritten, agent.join().unwrap())
        });
        println!("{rewritten} frames rewritten, {emptied} entries emptied in {seconds} s");
        assert!(rewritten > 1000 && emptied > 100, "{rewritten} rewritten, {emptied} emptied");
        for entry in bench.mapping.words().chunks(4) {
            let head = Head(entry[0].load(Ordering::Relaxed));
            assert_ne!(head.state(), State::Busy, "an entry was claimed and never published");
        }
    });
}
