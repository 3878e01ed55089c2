//! What is shown at once: what happened between two looks, by listener and backend.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::{line, output};
use super::amount::{NUMBERS, amount};
use super::rates::{By, Rates, a_second};
use crate::control::report::{BackendReport, BackendsReport, Counters, ListenerReport, LoadBalancerReport};

/// What is counted at a moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) node: String,
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) backends: BackendsReport,
}

/// One listener.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListenerRates {
    load_balancer: String,
    listener: String,
    /// Address, port and protocol.
    address: String,
    #[serde(flatten)]
    rates: Rates,
    /// Packets that no flow took.
    refused_per_second: f64,
    backends: Vec<BackendRates>,
}

/// One backend of a listener.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BackendRates {
    vm: String,
    address: String,
    state: String,
    #[serde(flatten)]
    rates: Rates,
}

/// All that is shown at once.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    node: String,
    /// Between the looks.
    seconds: f64,
    /// Of all listeners that are shown.
    #[serde(flatten)]
    rates: Rates,
    /// Of the whole node: packets a second that were not simply forwarded, by the reason.
    reasons: BTreeMap<String, f64>,
    listeners: Vec<ListenerRates>,
}

impl View {
    /// From two samples, of those load balancers that are wanted by namespace and name. What was not there at the first one
    /// has no rate yet.
    pub(super) fn between(
        before: &Sample,
        after: &Sample,
        by: By,
        is_wanted: impl Fn(&str, &str) -> bool,
    ) -> Self {
        let elapsed = after.at.saturating_duration_since(before.at);
        let known = Known::of(&before.backends);
        let wanted = after.backends.load_balancers.iter().filter(|lb| is_wanted(&lb.namespace, &lb.name));
        let listeners = wanted.flat_map(|lb| lb.listeners.iter().map(move |listener| (lb, listener)));
        let mut listeners: Vec<ListenerRates> =
            listeners.map(|(lb, listener)| known.listener(lb, listener, elapsed)).collect();
        listeners.sort_by(|a, b| by.order(&a.rates, &b.rates));
        for listener in &mut listeners {
            listener.backends.sort_by(|a, b| by.order(&a.rates, &b.rates));
        }
        let reasons = after.reasons.iter().filter_map(|(reason, count)| {
            let rate = a_second(*before.reasons.get(reason)?, *count, elapsed);
            (rate > 0.0).then(|| (reason.clone(), rate))
        });
        Self {
            node: after.node.clone(),
            seconds: elapsed.as_secs_f64(),
            rates: listeners.iter().fold(Rates::default(), |sum, listener| sum.and(&listener.rates)),
            reasons: reasons.collect(),
            listeners,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let [packets, bytes, new, live] = self.rates.cells();
        let mut text = String::new();
        line(
            &mut text,
            format_args!("{}: {packets} packets/s, {bytes}/s, {new} new flows/s, {live} live", self.node),
        );
        let reasons =
            self.reasons.iter().map(|(reason, rate)| format!("{reason} {}", amount(*rate, NUMBERS)));
        let reasons: Vec<String> = reasons.collect();
        if !reasons.is_empty() {
            line(&mut text, format_args!("Not forwarded a second: {}", reasons.join(", ")));
        }
        let header = [
            "LOADBALANCER",
            "LISTENER",
            "VM",
            "ADDRESS",
            "PACKETS/S",
            "BYTES/S",
            "NEW/S",
            "LIVE",
            "REFUSED/S",
        ];
        text + &output::table(header, self.listeners.iter().flat_map(ListenerRates::rows))
    }
}

impl ListenerRates {
    /// Its own row, and those of its backends.
    fn rows(&self) -> Vec<[String; 9]> {
        let row = |vm: &str, address: &str, rates: &Rates, refused: String| {
            let [packets, bytes, new, live] = rates.cells();
            let (lb, listener) = (self.load_balancer.clone(), self.listener.clone());
            [lb, listener, vm.to_owned(), address.to_owned(), packets, bytes, new, live, refused]
        };
        let refused = amount(self.refused_per_second, NUMBERS);
        let mut rows = vec![row("all", &self.address, &self.rates, refused)];
        rows.extend(self.backends.iter().map(|b| row(&b.vm, &b.address, &b.rates, String::new())));
        rows
    }
}

/// Namespace and name of a load balancer, and a listener's name.
type ListenerKey<'a> = (&'a str, &'a str, &'a str);

/// The counters of the first look.
struct Known<'a> {
    listeners: BTreeMap<ListenerKey<'a>, &'a Counters>,
    /// By listener, VM and address.
    backends: BTreeMap<(ListenerKey<'a>, &'a str, &'a str), &'a Counters>,
}

impl<'a> Known<'a> {
    fn of(report: &'a BackendsReport) -> Self {
        let mut known = Self { listeners: BTreeMap::new(), backends: BTreeMap::new() };
        for lb in &report.load_balancers {
            for listener in &lb.listeners {
                let key = (lb.namespace.as_str(), lb.name.as_str(), listener.name.as_str());
                known.listeners.insert(key, &listener.counters);
                for backend in listener.backends.iter().filter(|backend| backend.state != "Absent") {
                    known.backends.insert((key, &backend.vm, &backend.address), &backend.counters);
                }
            }
        }
        known
    }

    fn listener(
        &self,
        lb: &'a LoadBalancerReport,
        listener: &'a ListenerReport,
        elapsed: Duration,
    ) -> ListenerRates {
        let key = (lb.namespace.as_str(), lb.name.as_str(), listener.name.as_str());
        let before = self.listeners.get(&key).copied().unwrap_or(&listener.counters);
        let port = listener
            .end_port
            .map_or_else(|| listener.port.to_string(), |end| format!("{}-{end}", listener.port));
        let host = if lb.address.contains(':') { format!("[{}]", lb.address) } else { lb.address.clone() };
        let backend = |backend: &'a BackendReport| {
            let before = self.backends.get(&(key, &backend.vm, &backend.address)).copied();
            let before = before.unwrap_or(&backend.counters);
            BackendRates {
                vm: backend.vm.clone(),
                address: backend.address.clone(),
                state: backend.state.clone(),
                rates: Rates::between(before, &backend.counters, backend.live_flows, elapsed),
            }
        };
        ListenerRates {
            load_balancer: format!("{}/{}", lb.namespace, lb.name),
            listener: listener.name.clone(),
            address: format!("{host}:{port}/{}", listener.protocol),
            rates: Rates::between(before, &listener.counters, listener.live_flows, elapsed),
            refused_per_second: a_second(before.refused, listener.counters.refused, elapsed),
            backends: listener.backends.iter().map(backend).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listener(
        name: &str,
        port: u16,
        counts: [u64; 3],
        live: u64,
        vms: &[(&str, [u64; 3])],
    ) -> ListenerReport {
        let counters = |[flows, packets, bytes]: [u64; 3]| Counters {
            flows,
            forward_packets: packets,
            reply_packets: packets,
            forward_bytes: bytes,
            reply_bytes: bytes,
            refused: flows,
        };
        let backend = |(vm, counts): &(&str, [u64; 3])| BackendReport {
            vm: (*vm).to_owned(),
            address: "192.0.2.11:8080".to_owned(),
            state: "Active".to_owned(),
            counters: counters(*counts),
            ..BackendReport::default()
        };
        ListenerReport {
            name: name.to_owned(),
            port,
            protocol: "TCP".to_owned(),
            counters: counters(counts),
            live_flows: live,
            backends: vms.iter().map(backend).collect(),
            ..ListenerReport::default()
        }
    }

    fn sample(
        at: Instant,
        reasons: &[(&str, u64)],
        load_balancers: &[(&str, Vec<ListenerReport>)],
    ) -> Sample {
        let lb = |(name, listeners): &(&str, Vec<ListenerReport>)| LoadBalancerReport {
            namespace: "shop".to_owned(),
            name: (*name).to_owned(),
            address: "192.0.2.80".to_owned(),
            listeners: listeners.clone(),
        };
        Sample {
            at,
            node: "node-1".to_owned(),
            reasons: reasons.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            backends: BackendsReport { load_balancers: load_balancers.iter().map(lb).collect() },
        }
    }

    /// Two looks with two seconds between.
    fn both() -> (Sample, Sample) {
        let start = Instant::now();
        let before = [
            ("back", vec![listener("db", 5432, [10, 100, 1000], 0, &[])]),
            (
                "front",
                vec![listener("web", 80, [10, 100, 1000], 0, &[("a", [5, 50, 500]), ("b", [5, 50, 500])])],
            ),
        ];
        let vms = [("a", [6, 51, 501]), ("b", [8, 3050, 1_000_500])];
        let after = [
            ("back", vec![listener("db", 5432, [11, 101, 1000], 1, &[])]),
            ("front", vec![listener("web", 80, [14, 3101, 1_001_001], 7, &vms)]),
            ("new", vec![listener("web", 80, [1000, 1000, 1000], 3, &[])]),
        ];
        (
            sample(start, &[("not_ours", 5), ("truncated", 1)], &before),
            sample(start + Duration::from_secs(2), &[("not_ours", 8), ("truncated", 1)], &after),
        )
    }

    #[test]
    fn what_has_most_packets_comes_first_with_its_backends() {
        let (before, after) = both();
        insta::assert_snapshot!(View::between(&before, &after, By::Packets, |_, _| true).text());
    }

    #[test]
    fn programs_are_told_rates_of_what_is_wanted_in_the_order_they_want() {
        let (before, after) = both();
        let view = |by, wanted: &str| {
            let view = View::between(&before, &after, by, |_, name| wanted.is_empty() || name == wanted);
            serde_json::to_value(view).unwrap()
        };
        let first = |by| view(by, "")["listeners"][0]["loadBalancer"].clone();
        assert_eq!(first(By::New), "shop/front");
        assert_eq!(view(By::Live, "")["listeners"][1]["loadBalancer"], "shop/new");
        let one = view(By::Bytes, "back");
        assert_eq!(one["listeners"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&one["packetsPerSecond"], &one["newFlowsPerSecond"], &one["liveFlows"]),
            (&json!(1.0), &json!(0.5), &json!(1))
        );
        assert_eq!(one["reasons"], json!({"not_ours": 1.5}));
        assert_eq!(one["listeners"][0]["address"], "192.0.2.80:5432/TCP");
    }
}
