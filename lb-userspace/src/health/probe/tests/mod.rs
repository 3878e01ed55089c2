//! Probes of real servers on the loopback interface, well and ill.

mod grpc;
mod tls;

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use super::*;
use crate::model::check::Port;
use crate::model::health_check::{HealthCheck, HttpCheck, UdpCheck};
use crate::model::load_balancer::{Listener, LoadBalancer};

/// Long: a slow machine must not look like a server that is gone.
const PATIENT: Duration = Duration::from_mins(1);
/// For servers that say nothing.
const HASTY: Duration = Duration::from_millis(200);

/// A check as the fields say.
fn check(raw: HealthCheck, timeout: Duration) -> CheckedHealthCheck {
    let mut lb = LoadBalancer::new("shop", "front");
    let listener = Listener { port: 80, protocol: "TCP".into(), backend_port: 80, ..Listener::default() };
    lb.spec.listeners = vec![listener];
    lb.spec.health_check = Some(HealthCheck { port: 80, ..raw });
    let checked = lb.check().unwrap().health_check.unwrap();
    CheckedHealthCheck { timeout, ..(*checked).clone() }
}

async fn probe(address: SocketAddr, check: &CheckedHealthCheck) -> Result<(), ProbeFailed> {
    let port = Port::new(i64::from(address.port())).unwrap();
    Prober::default().probe(address, &CheckedHealthCheck { port, ..check.clone() }).await
}

/// A server that reads what it is asked, up to an empty line, and answers so.
struct Server {
    address: SocketAddr,
    question: JoinHandle<String>,
}

impl Server {
    async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let (listener, answer) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), answer.into());
        let address = listener.local_addr().unwrap();
        let question = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = Vec::new();
            let is_asked = |question: &[u8]| question.windows(4).any(|end| end == b"\r\n\r\n");
            while !is_asked(&question) && stream.read_buf(&mut question).await.unwrap() > 0 {}
            // Whoever has heard enough goes away.
            drop(stream.write_all(&answer).await);
            drop(stream.shutdown().await);
            // Read to the end: what is unread would make the end a reset.
            drop(stream.read_to_end(&mut Vec::new()).await);
            String::from_utf8_lossy(&question).into_owned()
        });
        Self { address, question }
    }
}

fn http(http: HttpCheck) -> CheckedHealthCheck {
    check(HealthCheck { kind: "HTTP".into(), http: Some(http), ..HealthCheck::default() }, PATIENT)
}

async fn ends_with_a_reset(address: &str) {
    let listener = TcpListener::bind(address).await.unwrap();
    let tcp = check(HealthCheck::default(), PATIENT);
    let probed = probe(listener.local_addr().unwrap(), &tcp);
    let (result, accepted) = tokio::join!(probed, listener.accept());
    assert_eq!(result, Ok(()));
    let (stream, _) = accepted.unwrap();
    let ended = async {
        stream.readable().await?;
        stream.try_read(&mut [0; 1])
    };
    let error = timeout(PATIENT, ended).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_probe_ends_with_a_reset() {
    ends_with_a_reset("127.0.0.1:0").await;
}

#[tokio::test]
async fn a_probe_of_ipv6_ends_with_a_reset() {
    ends_with_a_reset("[::1]:0").await;
}

#[tokio::test]
async fn an_http_server_is_asked_for_the_path_by_its_host() {
    let server = Server::start("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let health =
        HttpCheck { path: "/health?full=1".into(), host: "shop.example".into(), ..HttpCheck::default() };
    assert_eq!(probe(server.address, &http(health)).await, Ok(()));
    let question = server.question.await.unwrap();
    let mut lines = question.lines();
    assert_eq!(lines.next(), Some("GET /health?full=1 HTTP/1.1"));
    let lines: Vec<&str> = lines.collect();
    assert!(lines.contains(&"host: shop.example") && lines.contains(&"connection: close"), "{question}");
}

#[tokio::test]
async fn without_a_host_an_http_server_is_called_by_its_address() {
    let server = Server::start("HTTP/1.0 204 No Content\r\n\r\n").await;
    let host = format!("host: {}", server.address);
    assert_eq!(probe(server.address, &http(HttpCheck::default())).await, Ok(()));
    assert!(server.question.await.unwrap().lines().any(|line| line == host));
}

#[tokio::test]
async fn the_status_code_decides() {
    let statuses = |texts: &[&str]| HttpCheck {
        expected_statuses: texts.iter().map(|text| (*text).to_owned()).collect(),
        ..HttpCheck::default()
    };
    for (expected, status, is_good) in [
        (&[][..], 200, true),
        (&[], 399, true),
        (&[], 400, false),
        (&[], 503, false),
        (&["200"], 204, false),
        (&["200", "404"], 404, true),
        (&["500-599"], 503, true),
    ] {
        let server = Server::start(format!("HTTP/1.1 {status} X\r\n\r\n")).await;
        let result = probe(server.address, &http(statuses(expected))).await;
        let failed = if is_good { Ok(()) } else { Err(ProbeFailed::Status(status)) };
        assert_eq!(result, failed, "{expected:?} {status}");
    }
    let server = Server::start("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").await;
    assert_eq!(
        probe(server.address, &http(HttpCheck::default())).await,
        Ok(()),
        "an interim answer is not it"
    );
}

#[tokio::test]
async fn what_is_not_http_fails() {
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 x\r\n\r\n", &"HTTP/1.1 200 OK\r\nx: y".repeat(9000)] {
        let server = Server::start(answer).await;
        let result = probe(server.address, &http(HttpCheck::default())).await;
        assert!(matches!(result, Err(ProbeFailed::NotHttp(_))), "{result:?}");
    }
    let server = Server::start("").await;
    assert_eq!(probe(server.address, &http(HttpCheck::default())).await, Err(ProbeFailed::Closed));
}

#[tokio::test]
async fn a_server_that_accepts_and_hangs_is_waited_for_no_longer_than_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hasty = CheckedHealthCheck { timeout: HASTY, ..http(HttpCheck::default()) };
    assert_eq!(probe(address, &hasty).await, Err(ProbeFailed::TimedOut(HASTY)));
    // To connect is all that a TCP check asks for.
    assert_eq!(probe(address, &check(HealthCheck::default(), PATIENT)).await, Ok(()));
}

#[tokio::test]
async fn a_server_that_resets_and_one_that_is_gone_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reset = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        stream.set_zero_linger().unwrap();
    };
    let http = http(HttpCheck::default());
    let (result, ()) = tokio::join!(probe(address, &http), reset);
    assert_eq!(result, Err(ProbeFailed::Reset));
    drop(listener);
    assert_eq!(probe(address, &http).await, Err(ProbeFailed::Refused));
}

fn udp(udp: UdpCheck, timeout: Duration) -> CheckedHealthCheck {
    check(HealthCheck { kind: "UDP".into(), udp: Some(udp), ..HealthCheck::default() }, timeout)
}

#[tokio::test]
async fn a_udp_server_answers_what_is_expected() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let mut question = [0; 64];
        loop {
            let (length, from) = server.recv_from(&mut question).await.unwrap();
            server.send_to(&question[..length], from).await.unwrap();
        }
    });
    let ping = UdpCheck { payload: "ping 1".into(), expected: "ping".into(), ..UdpCheck::default() };
    assert_eq!(probe(address, &udp(ping.clone(), PATIENT)).await, Ok(()));
    let other = UdpCheck { expected: "pong".into(), ..ping };
    assert_eq!(probe(address, &udp(other, PATIENT)).await, Err(ProbeFailed::OtherAnswer));
    let hex = UdpCheck { encoding: "Hex".into(), payload: "00 ff0a".into(), expected: "FF0A".into() };
    assert_eq!(probe(address, &udp(hex, PATIENT)).await, Ok(()));
    echo.abort();
}

#[tokio::test]
async fn a_silent_udp_server_is_well_unless_an_answer_is_expected() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    assert_eq!(probe(address, &udp(UdpCheck::default(), HASTY)).await, Ok(()));
    let expecting = UdpCheck { expected: "pong".into(), ..UdpCheck::default() };
    assert_eq!(probe(address, &udp(expecting, HASTY)).await, Err(ProbeFailed::TimedOut(HASTY)));
}

#[tokio::test]
async fn a_udp_port_that_nobody_listens_on_is_unreachable() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let address = UdpSocket::bind(address).await.unwrap().local_addr().unwrap();
        let result = probe(address, &udp(UdpCheck::default(), PATIENT)).await;
        assert_eq!(result, Err(ProbeFailed::PortUnreachable));
    }
}
