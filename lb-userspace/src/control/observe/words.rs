//! Decisions of the packet programs, in words.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lb_common::backend::BackendRef;
use lb_common::observe::{Code, MASQUERADED, Note, REPLY};
use lb_common::reason::Reason;
use lb_common::stage::Stage;

use super::trace::Step;
use crate::control::report::{BackendsReport, ListenerReport};
use crate::datapath::model::BackendEntry;
use crate::datapath::observe::Side;

/// What words need to know.
pub(super) struct Names<'a> {
    pub(super) side: Side,
    pub(super) report: &'a BackendsReport,
    pub(super) backends: &'a BTreeMap<u32, BackendEntry>,
    /// `TCP` or `UDP`, whatever the case of its letters.
    pub(super) protocol: &'a str,
    pub(super) destination: SocketAddr,
}

impl Names<'_> {
    /// Whose VIP is dialled.
    pub(super) fn vip(&self) -> Step {
        let vip = self.destination.ip().to_string();
        let balancer = self.report.load_balancers.iter().find(|balancer| balancer.address == vip);
        Step::new(
            "vip",
            match balancer {
                Some(balancer) => format!("{vip} is the VIP of {}/{}", balancer.namespace, balancer.name),
                None => format!("{vip} is no VIP of this node"),
            },
        )
    }

    /// One decision; `None` for what says nothing to people.
    pub(super) fn step(&self, note: &Note) -> Option<Step> {
        let Note { first, second, .. } = *note;
        Some(match Code::numbered(note.code) {
            Code::None => return None,
            Code::Stage => Step::new("stage", stage(first)?),
            Code::Reason => Step::new("reason", Reason::ALL.get(first as usize)?.name()),
            Code::Flow => Step::new("flow", self.flow(first, second)),
            Code::Listener => Step::new("listener", self.listener(second)),
            Code::Backend => Step::new("backend", self.chosen(first, second)),
            Code::Entered => Step::new("flow", entered(first)),
            Code::Checksum => Step::new("checksum", self.checksum(first != 0)),
            Code::Exit => Step::new("exit", exit(first, second)),
        })
    }

    fn flow(&self, backend: u32, bits: u32) -> String {
        let half = if bits & REPLY == 0 { "a client's packet" } else { "an answer" };
        let mode = if bits & MASQUERADED == 0 { "client's address kept" } else { "masqueraded" };
        format!("a flow takes it: {half} of {}, {mode}", self.backend(BackendRef(backend).id()))
    }

    fn listener(&self, slots: u32) -> String {
        let (vip, port) = (self.destination.ip().to_string(), self.destination.port());
        let balancers = self.report.load_balancers.iter().filter(|balancer| balancer.address == vip);
        let listeners = balancers.flat_map(|balancer| balancer.listeners.iter());
        let takes = |listener: &&ListenerReport| {
            listener.protocol.eq_ignore_ascii_case(self.protocol)
                && (listener.port..=listener.end_port.unwrap_or(listener.port)).contains(&port)
        };
        // One for the port alone goes before a range.
        let listener = listeners.filter(takes).min_by_key(|listener| listener.end_port);
        let name = listener.map_or("", |listener| &listener.name);
        match slots {
            0 => format!("{name} at port {port}, without a ready backend"),
            slots => format!("{name} at port {port}, a table of {slots} slots"),
        }
    }

    fn chosen(&self, id: u32, attempt: u32) -> String {
        let why = match attempt {
            0 => "the first that its selection gives",
            _ => "an alternative: what came before had no room for its answers",
        };
        format!("{}, {why}", self.backend(id))
    }

    fn backend(&self, id: u32) -> String {
        let Some(entry) = self.backends.get(&id) else { return format!("backend {id}, which is gone") };
        let address = entry.address.to_string();
        let listeners = self.report.load_balancers.iter().flat_map(|balancer| balancer.listeners.iter());
        let mut backends = listeners.flat_map(|listener| listener.backends.iter());
        match backends.find(|backend| backend.address == address) {
            Some(backend) => format!("{} at {address}", backend.vm),
            None => address,
        }
    }

    fn checksum(&self, partial: bool) -> String {
        let text = match (self.side, partial) {
            (Side::Ingress | Side::Egress, _) => "kept right by the kernel's helpers",
            (Side::Xdp, false) => "kept right by what changes",
            (Side::Xdp, true) => "left to a device by the sender, and kept so",
        };
        text.to_owned()
    }
}

fn stage(number: u32) -> Option<&'static str> {
    const NAMES: [(Stage, &str); 9] = [
        (Stage::Tagged, "it carries VLAN tags"),
        (Stage::OpenV4, "no live flow takes it: is it for a listener?"),
        (Stage::OpenV6, "no live flow takes it: is it for a listener?"),
        (Stage::RefuseV4, "it is refused"),
        (Stage::RefuseV6, "it is refused"),
        (Stage::ControlV4, "a control message"),
        (Stage::ControlV6, "a control message"),
        (Stage::FragmentV4, "a fragment"),
        (Stage::FragmentV6, "a fragment, or it has extension headers"),
    ];
    NAMES.into_iter().find(|(stage, _)| *stage as u32 == number).map(|(_, name)| name)
}

const fn entered(outcome: u32) -> &'static str {
    match outcome {
        0 => "a new flow is entered",
        1 => "not entered: the tuple of its answers is another flow's",
        2 => "not entered: no source port is free",
        4 => "another processor entered one",
        _ => "not entered: there is no room",
    }
}

fn exit(way: u32, interface: u32) -> String {
    match way {
        0 => "to the stack of this node".to_owned(),
        1 => "the bridge delivers it".to_owned(),
        2 => "out of the interface that it came in by".to_owned(),
        _ => format!("out of interface {interface}"),
    }
}
