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
    let listener =
        ListenerReport { name: "web".into(), port: 80, backends: vec![backend], ..ListenerReport::default() };
    let balancer = LoadBalancerReport {
        namespace: "shop".into(),
        name: "front".into(),
        address: "192.0.2.200".into(),
        listeners: vec![listener],
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
