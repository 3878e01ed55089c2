//! Ports of one address that several load balancers listen on.

use std::collections::BTreeMap;

use super::{Reference, Refusal};
use crate::datapath::model::Protocol;
use crate::model::check::{CheckedListener, Port};
use crate::model::field::Problems;
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::NamespacedName;

/// Spans of ports that are taken, none of which overlaps another's: by the last port, with the first and the name of
/// the load balancer.
#[derive(Default)]
struct Taken(BTreeMap<(Protocol, u16), (u16, String)>);

impl Taken {
    /// Who has any of these ports.
    fn by(&self, protocol: Protocol, (first, last): (u16, u16)) -> Option<&str> {
        let mut from = self.0.range((protocol, first)..=(protocol, u16::MAX));
        from.next().filter(|(_, (taken, _))| *taken <= last).map(|(_, (_, name))| name.as_str())
    }

    /// Takes the ports of a load balancer, whose own listeners may overlap.
    fn take(&mut self, name: &str, listeners: &[CheckedListener]) {
        let mut spans: Vec<_> =
            listeners.iter().map(|listener| (listener.protocol, span(listener))).collect();
        spans.sort_unstable();
        let mut merged: Vec<(Protocol, (u16, u16))> = Vec::with_capacity(spans.len());
        for (protocol, (first, last)) in spans {
            match merged.last_mut() {
                Some((same, (_, end))) if *same == protocol && first <= *end => *end = last.max(*end),
                _ => merged.push((protocol, (first, last))),
            }
        }
        for (protocol, (first, last)) in merged {
            self.0.insert((protocol, last), (first, name.to_owned()));
        }
    }
}

fn span(listener: &CheckedListener) -> (u16, u16) {
    (listener.port.get(), listener.end_port.unwrap_or(listener.port).get())
}

/// Refuses listeners on ports that another of the load balancers has, which all have one address. Those that are not
/// changed have theirs first.
pub(super) fn collisions(
    all: &[&LoadBalancer],
    is_changed: impl Fn(&NamespacedName) -> bool,
) -> Vec<Refusal> {
    let (changed, kept): (Vec<&LoadBalancer>, Vec<&LoadBalancer>) =
        all.iter().partition(|object| is_changed(&object.metadata.key()));
    let mut taken = Taken::default();
    // What is wrong is refused, or, where it is stored, not served.
    let listeners =
        |object: &LoadBalancer| object.check().map(|checked| checked.listeners).unwrap_or_default();
    for object in kept {
        taken.take(&object.metadata.name, &listeners(object));
    }
    let mut refusals = Vec::new();
    for object in changed {
        let listeners = listeners(object);
        let mut problems = Problems::default();
        for (index, listener) in listeners.iter().enumerate() {
            if let Some(other) = taken.by(listener.protocol, span(listener)) {
                let problem = format!("{} is taken by {other}, which has the same address", shown(listener));
                let remedy = "use another port, or an address of its own";
                problems.add(format!("spec.listeners[{index}].port"), listener.port.get(), problem, remedy);
            }
        }
        taken.take(&object.metadata.name, &listeners);
        if let Err(fields) = problems.result(()) {
            let reference = Reference::LoadBalancer(object.metadata.key());
            refusals.push(Refusal::Invalid { reference, fields });
        }
    }
    refusals
}

/// `TCP 80`, or `TCP 8000 to 8100`.
fn shown(listener: &CheckedListener) -> String {
    let range = listener.end_port.map(|end| format!(" to {}", Port::get(end))).unwrap_or_default();
    let protocol = match listener.protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    };
    format!("{protocol} {}{range}", listener.port.get())
}
