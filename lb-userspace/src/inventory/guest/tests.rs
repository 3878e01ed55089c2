//! Guests that answer, are silent and go away, over real sockets.

use std::path::PathBuf;
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
        assert_eq!(addresses(&merge(&declared(interfaces), Some(&told))), expected);
    }
    let stated = declared(vec![interface("default", nic, "192.0.2.99")]);
    assert_eq!(merge(&stated, Some(&Told::Silent)), stated);
    assert_eq!(merge(&stated, None), stated);
    assert!(!merge(&stated, Some(&Told::Off)).running);
}
