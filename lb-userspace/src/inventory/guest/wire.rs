//! The guest agent's protocol: lines of JSON, and a byte that no JSON has to find their beginning again.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::family::Family;
use crate::model::range::unfit;
use crate::model::vm::{Interface, parse_mac};

/// Begins what follows anew, in both directions.
pub(super) const DELIMITER: u8 = 0xff;
/// As many interfaces of a guest are taken.
const MAX_INTERFACES: usize = 64;
/// As many addresses of an interface are taken.
const MAX_ADDRESSES: usize = 64;

/// Why an answer is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum ReadAnswer {
    /// Not JSON of the right shape.
    #[error("not the answer of a guest agent: {0}")]
    Shape(String),
    /// The agent refused.
    #[error("the guest agent refuses: {0}")]
    Refused(String),
}

/// Has the agent forget what it was told before, and repeat this number.
pub(super) fn sync(id: u32) -> Vec<u8> {
    let mut bytes = vec![DELIMITER];
    bytes.extend(line(&json!({ "execute": "guest-sync-delimited", "arguments": { "id": id } })));
    bytes
}

/// Asks for the guest's interfaces.
pub(super) fn interfaces_question() -> Vec<u8> {
    line(&json!({ "execute": "guest-network-get-interfaces" }))
}

fn line(value: &Value) -> Vec<u8> {
    format!("{value}\n").into_bytes()
}

/// The number that an answer to [`sync`] repeats.
pub(super) fn synced(line: &[u8]) -> Result<u32, ReadAnswer> {
    answer(line)
}

/// The interfaces that have a hardware address, each with the addresses that a host can have, in the guest's order.
pub(super) fn interfaces(line: &[u8]) -> Result<Vec<Interface>, ReadAnswer> {
    let told: Vec<Told> = answer(line)?;
    Ok(told.iter().filter_map(interface).take(MAX_INTERFACES).collect())
}

#[derive(Deserialize)]
struct Told {
    name: String,
    #[serde(rename = "hardware-address")]
    mac: Option<String>,
    #[serde(rename = "ip-addresses", default)]
    addresses: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(rename = "ip-address")]
    address: String,
}

#[derive(Deserialize)]
struct Answer<T> {
    #[serde(rename = "return")]
    value: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    desc: String,
}

fn answer<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, ReadAnswer> {
    let answer: Answer<T> =
        serde_json::from_slice(line).map_err(|error| ReadAnswer::Shape(error.to_string()))?;
    match answer {
        Answer { value: Some(value), .. } => Ok(value),
        Answer { error: Some(refusal), .. } => {
            Err(ReadAnswer::Refused(refusal.desc.chars().take(160).collect()))
        }
        Answer { .. } => Err(ReadAnswer::Shape("neither return nor error".to_owned())),
    }
}

/// `None` for one without hardware address, as a loopback interface.
fn interface(told: &Told) -> Option<Interface> {
    let mac = parse_mac(told.mac.as_deref()?).filter(|mac| mac.0 != [0; 6])?;
    let addresses = told.addresses.iter().filter_map(|address| address.address.parse().ok());
    let addresses: Vec<std::net::IpAddr> =
        addresses.filter(|address| unfit(*address).is_none()).take(MAX_ADDRESSES).collect();
    let main = addresses.iter().find(|address| Family::of(**address) == Family::V4).or(addresses.first());
    Some(Interface {
        name: told.name.chars().take(64).collect(),
        mac: Some(mac),
        ip_address: main.map(ToString::to_string).unwrap_or_default(),
        ip_addresses: addresses.iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As a guest with Debian's agent answered, shortened.
    const ANSWER: &str = r#"{"return": [
        {"name": "lo", "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8}],
         "statistics": {"tx-packets": 4}, "hardware-address": "00:00:00:00:00:00"},
        {"name": "ens3", "ip-addresses": [
            {"ip-address-type": "ipv6", "ip-address": "2001:db8::11", "prefix": 64},
            {"ip-address-type": "ipv4", "ip-address": "192.0.2.11", "prefix": 24},
            {"ip-address-type": "ipv6", "ip-address": "fe80::11", "prefix": 64}],
         "hardware-address": "52:54:00:12:34:56"},
        {"name": "tun0"},
        {"name": "ens4", "hardware-address": "52:54:00:12:34:57"}]}"#;

    #[test]
    fn interfaces_are_told_with_the_addresses_of_hosts() {
        let interfaces = interfaces(ANSWER.as_bytes()).unwrap();
        let shown: Vec<_> = interfaces.iter().map(|i| (i.name.as_str(), i.ip_address.as_str())).collect();
        assert_eq!(shown, [("ens3", "192.0.2.11"), ("ens4", "")]);
        assert_eq!(interfaces[0].ip_addresses, ["2001:db8::11", "192.0.2.11"]);
        assert_eq!(interfaces[0].mac, parse_mac("52:54:00:12:34:56"));
    }

    #[test]
    fn refusals_and_other_lines_are_told_apart() {
        let refused = br#"{"error": {"class": "CommandNotFound", "desc": "no such command"}}"#;
        assert_eq!(interfaces(refused), Err(ReadAnswer::Refused("no such command".to_owned())));
        for line in [&b""[..], b"{}", b"[]", b"{\"return\": 7}", b"\xff{\"return\": []}"] {
            assert!(matches!(interfaces(line), Err(ReadAnswer::Shape(_))), "{line:?}");
        }
        assert_eq!(synced(b"{\"return\": 7}"), Ok(7));
        assert_eq!(sync(7)[0], DELIMITER);
    }

    proptest! {
        #[test]
        fn any_line_is_understood_or_refused(line: Vec<u8>) {
            drop(interfaces(&line));
        }
    }
}
