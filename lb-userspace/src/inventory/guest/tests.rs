//! Guests that answer, are silent and go away, over real sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::time::timeout;

use super::model::Told;
use super::task::Agents;
use super::*;
use crate::model::vm::{Interface, VirtualMachine, parse_mac};

const DEADLINE: Duration = Duration::from_mins(1);

/// A socket of its own for each test.
fn socket(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("lb-guest-{name}-{}.sock", std::process::id()));
    drop(std::fs::remove_file(&path));
    path
}

fn vm() -> NamespacedName {
    NamespacedName::new("shop", "web-1")
}

fn guests(path: &std::path::Path) -> Guests {
    [(vm(), path.to_owned())].into()
}

/// Answers as an agent does, with this address, after an answer that somebody else has not waited for.
async fn serve(listener: UnixListener, address: &str) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = BufReader::new(stream);
    stream.write_all(b"{\"return\": []}\n\xff{\"return\": 1}\n").await.unwrap();
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await.unwrap_or(0) > 0 {
        let question: Value =
            serde_json::from_slice(line.strip_prefix(&[wire::DELIMITER]).unwrap_or(&line)).unwrap();
        let answer = match question["execute"].as_str().unwrap() {
            "guest-sync-delimited" => {
                stream.write_all(&[wire::DELIMITER]).await.unwrap();
                json!({ "return": question["arguments"]["id"] })
            }
            _ => json!({ "return": [{
                "name": "ens3",
                "hardware-address": "52:54:00:12:34:56",
                "ip-addresses": [{ "ip-address": address }],
            }] }),
        };
        stream.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        line.clear();
    }
}

async fn until(agents: &mut Agents, is_so: impl Fn(&Told) -> bool) {
    let look = async {
        while !agents.told().get(&vm()).is_some_and(&is_so) {
            agents.changed().await;
        }
    };
    timeout(DEADLINE, look).await.unwrap();
}

#[tokio::test]
async fn a_guest_tells_its_address_until_the_emulator_ends() {
    let path = socket("answers");
    let server = tokio::spawn(serve(UnixListener::bind(&path).unwrap(), "192.0.2.11"));
    let mut agents = Agents::default();
    agents.ask(&guests(&path));
    agents.all_told().await;
    let told = agents.told();
    let Some(Told::Interfaces(interfaces)) = told.get(&vm()) else { panic!("{told:?}") };
    assert_eq!(interfaces[0].ip_address, "192.0.2.11");
    server.abort();
    std::fs::remove_file(&path).unwrap();
    until(&mut agents, |told| *told == Told::Off).await;
    let server = tokio::spawn(serve(UnixListener::bind(&path).unwrap(), "192.0.2.12"));
    until(&mut agents, |told| matches!(told, Told::Interfaces(all) if all[0].ip_address == "192.0.2.12"))
        .await;
    agents.ask(&Guests::new());
    assert!(agents.told().is_empty(), "who is not declared any more is forgotten");
    server.abort();
    std::fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_guest_whose_agent_does_not_answer_is_silent() {
    let path = socket("silent");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut agents = Agents::default();
    agents.ask(&guests(&path));
    agents.all_told().await;
    until(&mut agents, |told| *told == Told::Silent).await;
    std::fs::remove_file(&path).unwrap();
}

/// As an agent, but for what it says beside its answers.
async fn serve_and_then(listener: UnixListener, said: &[u8], is_endless: bool) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let is_open = async {
            loop {
                stream.write_all(said).await?;
                if !is_endless {
                    return std::io::Result::Ok(());
                }
            }
        };
        drop(is_open.await);
    }
}

/// Such guests kept the addresses that they had told before.
#[tokio::test]
async fn a_guest_that_answers_no_more_but_talks_or_hangs_up_is_silent() {
    const SPACES: [u8; 4096] = [b' '; 4096];
    for (name, said, is_endless) in
        [("endless", &SPACES[..], true), ("hangs-up", b"", false), ("nonsense", b"\xff{}\n", false)]
    {
        let path = socket(name);
        let server = tokio::spawn(serve(UnixListener::bind(&path).unwrap(), "192.0.2.11"));
        let mut agents = Agents::default();
        agents.ask(&guests(&path));
        until(&mut agents, |told| matches!(told, Told::Interfaces(_))).await;
        server.abort();
        std::fs::remove_file(&path).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move { serve_and_then(listener, said, is_endless).await });
        until(&mut agents, |told| *told == Told::Silent).await;
        server.abort();
        std::fs::remove_file(&path).unwrap();
    }
}

/// Whatever a guest sent between two questions was read, as fast as it came.
#[tokio::test]
async fn a_guest_that_talks_without_being_asked_is_left() {
    let path = socket("unasked");
    let listener = UnixListener::bind(&path).unwrap();
    let mut channel = super::socket::Channel::open(&path).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let talk = tokio::spawn(async move {
        let mut sent = 0;
        while let Ok(written) = stream.write(&[b'x'; 4096]).await {
            sent += written;
        }
        sent
    });
    let problem = timeout(DEADLINE, channel.closed()).await.unwrap();
    assert!(matches!(problem, super::socket::AskGuest::Endless), "{problem}");
    drop(channel);
    // What lies in the sockets' buffers comes on top.
    assert!(timeout(DEADLINE, talk).await.unwrap().unwrap() < 4 << 20);
    std::fs::remove_file(&path).unwrap();
}

/// Whatever could not be connected to counted as a VM that does not run.
#[tokio::test]
async fn only_a_socket_that_nobody_serves_is_a_vm_that_is_off() {
    let (absent, left_behind, datagrams) = (socket("absent"), socket("left"), socket("datagrams"));
    drop(UnixListener::bind(&left_behind).unwrap());
    let _datagrams = std::os::unix::net::UnixDatagram::bind(&datagrams).unwrap();
    let too_long = PathBuf::from(format!("/{}", "x".repeat(200)));
    for (path, expected) in [
        (&absent, Told::Off),
        (&left_behind, Told::Off),
        (&datagrams, Told::Silent),
        (&too_long, Told::Silent),
    ] {
        let mut agents = Agents::default();
        agents.ask(&guests(path));
        agents.all_told().await;
        assert_eq!(agents.told().get(&vm()), Some(&expected), "{}", path.display());
    }
    std::fs::remove_file(&left_behind).unwrap();
    std::fs::remove_file(&datagrams).unwrap();
}

#[test]
fn a_vm_is_what_is_declared_and_what_its_guest_tells() {
    let interface = |name: &str, mac: &str, address: &str| Interface {
        name: name.into(),
        mac: parse_mac(mac),
        ip_address: address.into(),
        ip_addresses: Vec::new(),
    };
    let declared = |interfaces: Vec<Interface>| VirtualMachine {
        running: true,
        interfaces,
        ..VirtualMachine::default()
    };
    let (bridge, nic) = ("02:42:00:00:00:01", "52:54:00:12:34:56");
    let told = Told::Interfaces(vec![
        interface("docker0", bridge, "192.0.2.1"),
        interface("ens3", nic, "192.0.2.11"),
    ]);
    let addresses = |vm: &VirtualMachine| {
        vm.interfaces.iter().map(|interface| interface.ip_address.clone()).collect::<Vec<_>>()
    };
    for (interfaces, expected) in [
        (vec![], &["192.0.2.1", "192.0.2.11"][..]),
        (vec![interface("default", nic, "")], &["192.0.2.11"]),
        (vec![interface("ens3", "", "")], &["192.0.2.11"]),
        (vec![interface("default", nic, "192.0.2.99")], &["192.0.2.99"]),
        (vec![interface("default", "52:54:00:00:00:01", "")], &[""]),
    ] {
        assert_eq!(addresses(&merge(&declared(interfaces).into(), &told)), expected);
    }
    let stated = Arc::new(declared(vec![interface("default", nic, "192.0.2.99")]));
    assert_eq!(merge(&stated, &Told::Silent), stated);
    assert!(!merge(&stated, &Told::Off).running);
}
