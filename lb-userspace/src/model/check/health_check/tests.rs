//! Checks of all kinds, and what is refused with which field.

use super::*;
use crate::model::health_check::{GrpcCheck, HttpCheck, TlsCheck, UdpCheck};
use crate::model::load_balancer::LoadBalancer;

/// A load balancer with listeners TCP 80 and UDP 53, and this check.
fn lb(check: HealthCheck) -> LoadBalancer {
    let mut lb = LoadBalancer::new("shop", "front");
    let listener = |port, protocol: &str| Listener {
        port,
        protocol: protocol.into(),
        backend_port: port + 8000,
        ..Listener::default()
    };
    lb.spec.listeners = vec![listener(80, "TCP"), listener(53, "UDP")];
    lb.spec.health_check = Some(check);
    lb
}

/// The same, with the check at a listener.
fn own(index: usize, check: HealthCheck) -> LoadBalancer {
    let mut lb = lb(HealthCheck::default());
    lb.spec.health_check = None;
    lb.spec.listeners[index].health_check = Some(check);
    lb
}

fn of_type(kind: &str, port: i64) -> HealthCheck {
    HealthCheck { kind: kind.into(), port, ..HealthCheck::default() }
}

fn problems(lb: &LoadBalancer) -> Vec<String> {
    let errors = lb.check().err().unwrap_or_default();
    errors.iter().map(|error| format!("{}: {}", error.path, error.problem)).collect()
}

fn method(lb: &LoadBalancer) -> ProbeMethod {
    lb.check().unwrap().health_check.unwrap().method.clone()
}

#[test]
fn only_tcp_needs_the_port_of_a_tcp_listener() {
    assert_eq!(method(&lb(of_type("", 8080))), ProbeMethod::Tcp);
    assert_eq!(
        problems(&lb(of_type("TCP", 9901))),
        ["spec.healthCheck.port: not the backend port of a listener"]
    );
    for kind in ["HTTP", "HTTPS", "UDP", "GRPC"] {
        assert_eq!(problems(&lb(of_type(kind, 9901))), [""; 0], "{kind}");
        assert_eq!(problems(&lb(of_type(kind, 0))), ["spec.healthCheck.port: not a port"], "{kind}");
    }
    assert_eq!(lb(of_type("None", 8080)).check().unwrap().health_check, None);
    assert_eq!(problems(&lb(of_type("http", 8080))), ["spec.healthCheck.type: unknown value"]);
}

#[test]
fn http_takes_path_host_and_statuses() {
    let http = HttpCheck {
        path: "/health?full=1".into(),
        host: "shop.example:8443".into(),
        expected_statuses: vec!["204".into(), "301-303".into()],
    };
    let ProbeMethod::Http { path, host, expected, tls } =
        method(&lb(HealthCheck { http: Some(http), ..of_type("HTTPS", 8443) }))
    else {
        panic!("not HTTP");
    };
    assert_eq!((path.as_str(), host.unwrap().as_str()), ("/health?full=1", "shop.example:8443"));
    assert_eq!(expected.iter().map(ToString::to_string).collect::<Vec<_>>(), ["204", "301-303"]);
    assert_eq!(
        tls.unwrap().server_name.unwrap().as_ref(),
        "shop.example",
        "the name of the host is asked for"
    );
}

#[test]
fn wrong_fields_of_a_check_are_all_named() {
    let http = HttpCheck {
        path: "health".into(),
        host: "a b".into(),
        expected_statuses: vec!["200".into(), "ok".into(), "400-200".into(), "600".into()],
    };
    let tls = TlsCheck {
        verify: false,
        server_name: "192.0.2.1:443".into(),
        certificate_authorities: "none".into(),
    };
    let check =
        HealthCheck { http: Some(http), tls: Some(tls), period_seconds: -1, ..of_type("HTTPS", 70_000) };
    assert_eq!(
        problems(&lb(check)),
        [
            "spec.healthCheck.port: not a port",
            "spec.healthCheck.http.host: not a host",
            "spec.healthCheck.tls.serverName: not a DNS name",
            "spec.healthCheck.tls.certificateAuthorities: no certificate in it",
            "spec.healthCheck.http.path: not a path",
            "spec.healthCheck.http.expectedStatuses[1]: not a status code or range",
            "spec.healthCheck.http.expectedStatuses[2]: not a status code or range",
            "spec.healthCheck.http.expectedStatuses[3]: not a status code or range",
            "spec.healthCheck.periodSeconds: out of range",
        ]
    );
}

#[test]
fn fields_of_another_type_are_refused() {
    let check = HealthCheck {
        http: Some(HttpCheck::default()),
        tls: Some(TlsCheck::default()),
        udp: Some(UdpCheck::default()),
        grpc: Some(GrpcCheck::default()),
        ..of_type("HTTP", 8080)
    };
    assert_eq!(
        problems(&lb(check)),
        [
            "spec.healthCheck.tls: only for the type HTTPS and GRPC",
            "spec.healthCheck.udp: only for the type UDP",
            "spec.healthCheck.grpc: only for the type GRPC",
        ]
    );
}

#[test]
fn datagrams_are_written_as_text_or_hexadecimal() {
    let udp = |encoding: &str, payload: &str| {
        let udp = UdpCheck { encoding: encoding.into(), payload: payload.into(), ..UdpCheck::default() };
        lb(HealthCheck { udp: Some(udp), ..of_type("UDP", 8053) })
    };
    let payload = |bytes: &[u8]| ProbeMethod::Udp { payload: bytes.to_owned(), expected: Vec::new() };
    assert_eq!(method(&udp("", "ping")), payload(b"ping"));
    assert_eq!(method(&udp("Hex", "00 Ff\n10")), payload(&[0, 255, 16]));
    let path = "spec.healthCheck.udp.payload";
    for text in ["0", "0g", "ping"] {
        let expected = format!("{path}: not pairs of hexadecimal digits");
        assert_eq!(problems(&udp("Hex", text)), [expected]);
    }
    assert_eq!(problems(&udp("", &"x".repeat(1025))), [format!("{path}: too long")]);
    assert_eq!(problems(&udp("Base64", "")), ["spec.healthCheck.udp.encoding: unknown value"]);
}

#[test]
fn a_listeners_own_check_takes_protocol_and_port_of_the_listener() {
    for (index, port, method) in [
        (0, 8080, ProbeMethod::Tcp),
        (1, 8053, ProbeMethod::Udp { payload: Vec::new(), expected: Vec::new() }),
    ] {
        let checked = own(index, HealthCheck::default()).check().unwrap();
        let ListenerCheck::Own(Some(check)) = &checked.listeners[index].health_check else { panic!("none") };
        assert_eq!((check.port.get(), &check.method), (port, &method));
        assert_eq!(checked.listeners[1 - index].health_check, ListenerCheck::Shared);
    }
    let off = own(0, of_type("None", 0)).check().unwrap();
    assert_eq!(off.listeners[0].health_check, ListenerCheck::Own(None));
    let stored = own(0, HealthCheck::default()).with_defaults();
    let check = stored.spec.listeners[0].health_check.as_ref().unwrap();
    assert_eq!((check.success_threshold, check.failure_threshold, check.period_seconds), (1, 3, 5));
}

#[test]
fn problems_of_a_listeners_own_check_name_it() {
    let mut range = own(0, HealthCheck { timeout_seconds: 9, ..HealthCheck::default() });
    (range.spec.listeners[0].end_port, range.spec.listeners[0].backend_port) = (90, 0);
    assert_eq!(
        problems(&range),
        [
            "spec.listeners[0].healthCheck.port: not given, and a range has no single backend port",
            "spec.listeners[0].healthCheck.timeoutSeconds: longer than the period of 5 seconds",
        ]
    );
}
