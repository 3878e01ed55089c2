//! Queries on flows in memory.

use super::*;
use crate::control::report::{BackendReport, ListenerReport, LoadBalancerReport};
use crate::datapath::Datapath as _;
use crate::datapath::memory::Memory;
use crate::datapath::model::Protocol;

fn flow(client: &str, vip: &str, server: &str, protocol: Protocol, state: State) -> Flow {
    let sample = Flow::sample(client.parse().unwrap(), vip.parse().unwrap(), server.parse().unwrap());
    Flow { protocol, state, ..sample }
}

fn backends() -> BackendsReport {
    let backend = |vm: &str, address: &str| BackendReport {
        vm: vm.to_owned(),
        address: address.to_owned(),
        ..BackendReport::default()
    };
    let listener = |port, protocol: &str, backends| ListenerReport {
        port,
        protocol: protocol.to_owned(),
        backends,
        ..ListenerReport::default()
    };
    let web = LoadBalancerReport {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        address: "203.0.113.1".to_owned(),
        listeners: vec![listener(
            80,
            "TCP",
            vec![backend("web-1", "192.0.2.11:8080"), backend("web-2", "192.0.2.12:8080")],
        )],
    };
    let dns = LoadBalancerReport {
        namespace: "infra".to_owned(),
        name: "dns".to_owned(),
        address: "203.0.113.2".to_owned(),
        listeners: vec![listener(53, "UDP", vec![backend("dns-1", "192.0.2.21:53")])],
    };
    BackendsReport { load_balancers: vec![web, dns] }
}

fn lister() -> Lister {
    let memory = Memory::default();
    let mut masqueraded =
        flow("198.51.100.9:4000", "203.0.113.1:80", "192.0.2.12:8080", Protocol::Tcp, State::Opening);
    masqueraded.source = "203.0.113.1:51000".parse().unwrap();
    memory.flows().replace(vec![
        flow("198.51.100.7:9", "203.0.113.2:53", "192.0.2.21:53", Protocol::Udp, State::Established),
        flow("198.51.100.8:4001", "203.0.113.1:80", "192.0.2.11:8080", Protocol::Tcp, State::Closing),
        masqueraded,
        flow("198.51.100.8:4000", "203.0.113.1:80", "192.0.2.11:8080", Protocol::Tcp, State::Established),
    ]);
    Lister::new(memory.flow_table())
}

fn clients(query: &RawQuery) -> (Vec<String>, Summary) {
    let listing = lister().list(&Query::check(query).unwrap(), &backends()).unwrap();
    (listing.rows().map(|row| row.client).collect(), listing.summary)
}

#[test]
fn flows_are_sorted_by_what_was_dialled_and_by_whom() {
    let (clients, summary) = clients(&RawQuery::default());
    let order = ["198.51.100.8:4000", "198.51.100.8:4001", "198.51.100.9:4000", "198.51.100.7:9"];
    assert_eq!(clients, order);
    assert_eq!(summary, Summary { shown: 4, matched: 4, live: 4 });
}

#[test]
fn a_limit_keeps_the_first_and_says_how_many_there_are() {
    let query = RawQuery { limit: Some(1), protocol: Some("TCP".into()), ..RawQuery::default() };
    assert_eq!(
        clients(&query),
        (vec!["198.51.100.8:4000".into()], Summary { shown: 1, matched: 3, live: 4 })
    );
}

#[test]
fn every_filter_narrows() {
    let some = |text: &str| Some(text.to_owned());
    for (query, expected) in [
        (RawQuery { vip: some("203.0.113.2"), ..RawQuery::default() }, 1),
        (RawQuery { vip: some("203.0.113.1:81"), ..RawQuery::default() }, 0),
        (RawQuery { client: some("198.51.100.8/31"), ..RawQuery::default() }, 3),
        (RawQuery { backend: some("192.0.2.11"), ..RawQuery::default() }, 2),
        (RawQuery { vm: some("web-2"), ..RawQuery::default() }, 1),
        (RawQuery { lb: some("web"), ..RawQuery::default() }, 3),
        (RawQuery { lb: some("infra/dns"), ..RawQuery::default() }, 1),
        (RawQuery { lb: some("shop/dns"), ..RawQuery::default() }, 0),
        (RawQuery { state: some("Closing"), ..RawQuery::default() }, 1),
        (RawQuery { protocol: some("udp"), state: some("opening"), ..RawQuery::default() }, 0),
    ] {
        assert_eq!(clients(&query).1.matched, expected, "{query:?}");
    }
}

#[test]
fn a_row_names_everybody() {
    let listing = lister().list(&Query::check(&RawQuery::default()).unwrap(), &backends()).unwrap();
    let rows: Vec<_> = listing.rows().collect();
    insta::assert_json_snapshot!(&rows[2..]);
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let wrong = |text: &str| Some(text.to_owned());
    let query = RawQuery { vip: wrong("web"), state: wrong("open"), ..RawQuery::default() };
    let message = Query::check(&query).unwrap_err();
    assert!(message.contains("vip: \"web\"") && message.contains("opening, established"), "{message}");
}

/// A flow was named after whichever load balancer came last.
#[test]
fn a_flow_of_a_shared_address_is_that_of_the_load_balancer_that_listens() {
    let listening = |name: &str, port, end_port, protocol: &str| LoadBalancerReport {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        address: "203.0.113.1".to_owned(),
        listeners: vec![ListenerReport {
            port,
            end_port,
            protocol: protocol.to_owned(),
            ..ListenerReport::default()
        }],
    };
    let load_balancers = vec![
        listening("high", 9000, Some(9100), "TCP"),
        listening("low", 8000, Some(8100), "TCP"),
        listening("one", 8050, None, "TCP"),
        listening("other", 8000, Some(9100), "UDP"),
    ];
    let names = Names::new(&BackendsReport { load_balancers });
    let name = |port: u16, protocol| {
        let vip = format!("203.0.113.1:{port}");
        let flow = flow("198.51.100.7:9", &vip, "192.0.2.21:53", protocol, State::Established);
        names.load_balancer(&flow).unwrap().name.clone()
    };
    assert_eq!([8000, 8100, 8050, 9001].map(|port| name(port, Protocol::Tcp)), ["low", "low", "one", "high"]);
    assert_eq!(name(8050, Protocol::Udp), "other");
    assert_eq!(name(8500, Protocol::Tcp), "other", "nobody listens: any of them");
}
