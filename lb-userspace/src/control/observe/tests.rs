//! Questions and answers, over packets in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_common::observe::{Code, Note};
use lb_common::reason::Reason;

use super::*;
use crate::control::report::{
    BackendReport, BackendsReport, InterfaceReport, ListenerReport, LoadBalancerReport, NodeReport, Report,
};
use crate::datapath::model::{BackendEntry, BackendState, ListenerIndex, Placement};
use crate::datapath::observe::memory::MemoryPackets;
use crate::datapath::observe::{Frame, Packet, Side, Traced};

fn report() -> Report {
    let backend =
        BackendReport { vm: "web-1".into(), address: "192.0.2.11:8080".into(), ..Default::default() };
    let web = ListenerReport {
        name: "web".into(),
        port: 80,
        protocol: "TCP".into(),
        backends: vec![backend],
        ..ListenerReport::default()
    };
    let other = |name: &str, protocol: &str, port, end_port| ListenerReport {
        name: name.into(),
        port,
        end_port,
        protocol: protocol.into(),
        ..ListenerReport::default()
    };
    // Neither of these is what takes TCP to port 80.
    let (quic, all) = (other("quic", "UDP", 80, None), other("all", "TCP", 1, Some(65_535)));
    let balancer = LoadBalancerReport {
        namespace: "shop".into(),
        name: "front".into(),
        address: "192.0.2.200".into(),
        listeners: vec![quic, all, web],
    };
    // The one interface that every network namespace has.
    let interface = InterfaceReport {
        name: "lo".into(),
        role: "uplink".into(),
        hook: "xdp".into(),
        ..InterfaceReport::default()
    };
    Report {
        node: NodeReport { interfaces: vec![interface], ..NodeReport::default() },
        backends: BackendsReport { load_balancers: vec![balancer] },
    }
}

fn question() -> RawTrace {
    RawTrace {
        protocol: "tcp".into(),
        source: "192.0.2.50:40000".into(),
        destination: "192.0.2.200:80".into(),
        ..RawTrace::default()
    }
}

fn observer(packets: MemoryPackets) -> Observer {
    Observer::new(Arc::new(packets))
}

fn note(code: Code, first: u32, second: u32) -> Note {
    Note { code: code as u32, first, second }
}

#[test]
fn decisions_are_told_with_the_names_of_who_serves() {
    let entry = BackendEntry { address: "192.0.2.11:8080".parse().unwrap(), ..backend() };
    let traced = Traced {
        notes: vec![
            note(Code::Listener, 0, 251),
            note(Code::Backend, 7, 0),
            note(Code::Entered, 0, 0),
            note(Code::Exit, 1, 0),
            note(Code::Reason, Reason::Hairpin as u32, 0),
        ],
        code: 2,
        sent: vec![0; 14],
        frame: vec![1; 14],
        backends: BTreeMap::from([(7, entry)]),
    };
    let told = observer(MemoryPackets { traced: Some(traced), ..MemoryPackets::default() })
        .trace(&question(), &report())
        .unwrap();
    let text = |what: &str| told.steps.iter().find(|step| step.what == what).map(|step| step.text.as_str());
    assert_eq!(text("vip"), Some("192.0.2.200 is the VIP of shop/front"));
    assert_eq!(text("listener"), Some("web at port 80, a table of 251 slots"));
    assert_eq!(text("backend"), Some("web-1 at 192.0.2.11:8080, the first that its selection gives"));
    assert_eq!(text("flow"), Some("a new flow is entered"));
    assert_eq!(text("exit"), Some("the bridge delivers it"));
    assert_eq!((told.verdict.as_str(), told.reason.as_str()), ("pass", "hairpin"));
}

fn backend() -> BackendEntry {
    BackendEntry {
        listener: ListenerIndex(1),
        address: ([192, 0, 2, 1], 1).into(),
        placement: Placement::default(),
        state: BackendState::Active,
        generation: 1,
        weight: 1,
        limited_by: None,
    }
}

fn packet(interface: u32) -> Packet {
    let frame = Frame { length: 60, bytes: vec![0xab, 0xcd] };
    Packet {
        time: Duration::from_secs(1),
        interface,
        side: Side::Ingress,
        code: 2,
        reason: Some(Reason::Malformed),
        before: frame.clone(),
        after: frame,
    }
}

#[test]
fn a_capture_ends_after_as_many_packets_as_were_asked_for() {
    let observer = observer(MemoryPackets { packets: vec![packet(1); 5], ..MemoryPackets::default() });
    let asked = RawCapture { count: Some(3), lb: Some("shop/front".into()), ..RawCapture::default() };
    let mut captures = observer.capture(&asked, &report().backends).unwrap();
    let packets = captures.more().unwrap().unwrap();
    assert_eq!(packets.len(), 3);
    assert_eq!((packets[0].interface.as_str(), packets[0].verdict.as_str()), ("lo", "drop"));
    assert_eq!((packets[0].reason.as_str(), packets[0].before.as_str()), ("malformed", "abcd"));
    assert_eq!(captures.more().unwrap(), None);
    assert_eq!(captures.summary().unwrap(), CaptureSummary { packets: 3, lost: 0 });
}

#[test]
fn a_capture_ends_when_the_agent_stops_and_when_its_time_is_over() {
    let observer = observer(MemoryPackets::default());
    let mut captures = observer.capture(&RawCapture::default(), &report().backends).unwrap();
    assert_eq!(captures.more().unwrap(), Some(Vec::new()));
    let asked = RawCapture { seconds: Some(0), ..RawCapture::default() };
    assert_eq!(observer.capture(&asked, &report().backends).unwrap().more().unwrap(), None);
    observer.stop();
    assert_eq!(captures.more().unwrap(), None);
}

/// Such a time is beyond what clocks tell, which was a panic.
#[test]
fn a_time_without_end_has_none() {
    let observer = observer(MemoryPackets::default());
    let asked = RawCapture { seconds: Some(u64::MAX), ..RawCapture::default() };
    assert_eq!(observer.capture(&asked, &report().backends).unwrap().more().unwrap(), Some(Vec::new()));
    let asked = RawEvents { seconds: Some(u64::MAX), ..RawEvents::default() };
    assert_eq!(observer.events(&asked, &report().backends).unwrap().more().unwrap(), Some(Vec::new()));
}

#[test]
fn captures_of_nobody_and_of_two_families_are_refused() {
    let refused = |asked: RawCapture| {
        let observer = observer(MemoryPackets::default());
        observer.capture(&asked, &report().backends).err().unwrap().to_string()
    };
    assert!(
        refused(RawCapture { lb: Some("shop/back".into()), ..RawCapture::default() }).starts_with("lb: ")
    );
    let mixed = RawCapture {
        vip: Some("192.0.2.200".parse().unwrap()),
        client: Some("2001:db8::1".parse().unwrap()),
        ..RawCapture::default()
    };
    assert!(refused(mixed).starts_with("client: "));
}

#[test]
fn events_are_told_with_names_and_filtered() {
    use crate::datapath::flows::model::Flow;
    use crate::datapath::observe::event::{Carried, Event, Happening};

    let flow = |client: &str, vip: &str| {
        Flow::sample(client.parse().unwrap(), vip.parse().unwrap(), "192.0.2.11:8080".parse().unwrap())
    };
    let (own, other) = (flow("192.0.2.50:40000", "192.0.2.200:80"), flow("192.0.2.51:1", "192.0.2.201:80"));
    let carried = Carried {
        duration: Duration::from_millis(1500),
        forward_packets: 3,
        forward_bytes: 300,
        reply_packets: 2,
        reply_bytes: 200,
    };
    let dropped = Happening::Dropped {
        reason: Some(Reason::SourceDenied),
        interface: 1,
        side: Side::Xdp,
        frame: packet_to_the_vip(),
    };
    let happenings = [
        Happening::Opened(own),
        Happening::Opened(other),
        Happening::Closed { flow: own, carried: Some(carried) },
        dropped,
    ];
    let events = happenings.map(|happening| Event { time: Duration::from_secs(7), happening }).to_vec();
    let asked = |question: &RawEvents| {
        let observer = observer(MemoryPackets { events: events.clone(), ..MemoryPackets::default() });
        let mut events = observer.events(question, &report().backends).unwrap();
        let rows = events.more().unwrap().unwrap();
        assert_eq!(events.summary().unwrap().events, rows.len() as u64);
        rows
    };
    let kinds = |question: &RawEvents| asked(question).into_iter().map(|row| row.kind).collect::<Vec<_>>();
    assert_eq!(kinds(&RawEvents::default()), ["opened", "opened", "closed", "dropped"]);
    let of_lb = RawEvents { lb: Some("shop/front".into()), ..RawEvents::default() };
    assert_eq!(kinds(&of_lb), ["opened", "closed", "dropped"]);
    let of_client = RawEvents { client: "192.0.2.51".parse().ok(), ..RawEvents::default() };
    assert_eq!(kinds(&of_client), ["opened"]);
    let counted = RawEvents { count: Some(2), ..RawEvents::default() };
    assert_eq!(kinds(&counted), ["opened", "opened"]);
    let rows = asked(&RawEvents { kind: Some("Closed".into()), ..RawEvents::default() });
    let flow = rows[0].flow.as_ref().unwrap();
    assert_eq!((flow.vm.as_str(), flow.load_balancer.as_str()), ("web-1", "shop/front"));
    let told = rows[0].carried.unwrap();
    assert_eq!((told.forward_bytes, told.reply_packets), (300, 2));
    assert!((told.duration_seconds - 1.5).abs() < 1e-9, "{told:?}");
    let rows = asked(&RawEvents { kind: Some("dropped".into()), ..RawEvents::default() });
    let drop = rows[0].drop.as_ref().unwrap();
    assert_eq!(
        (drop.reason.as_str(), drop.interface.as_str(), drop.hook.as_str()),
        ("source_denied", "lo", "xdp")
    );
    assert!(drop.packet.starts_with("TCP 192.0.2.50:40000 → 192.0.2.200:80"), "{}", drop.packet);
    let wrong = observer(MemoryPackets::default())
        .events(&RawEvents { kind: Some("lost".into()), ..RawEvents::default() }, &report().backends);
    assert!(matches!(wrong, Err(ObservePackets::Wrong { field: "kind", .. })));
}

fn packet_to_the_vip() -> Frame {
    let (client, vip) = ("192.0.2.50:40000".parse().unwrap(), "192.0.2.200:80".parse().unwrap());
    let flags = frame::Flags::parse("syn").unwrap();
    let bytes = frame::build(lb_common::net::Protocol::Tcp, client, vip, flags, 0).unwrap();
    Frame { length: 54, bytes }
}
