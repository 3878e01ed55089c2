//! VirtualMachine facts, as the inventory file writes them and every provider yields them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use lb_common::net::Mac;
use serde::{Deserialize, Serialize};

use super::family::Family;
use super::labels::Labels;
use super::meta::{NamespacedName, or_default};
use super::range::unfit;

/// The label that tells a VM's share of new flows.
pub const WEIGHT: &str = "loadbalancer.harvesterhci.io/weight";
/// The greatest weight.
pub const MAX_WEIGHT: u32 = 256;
/// The weight of a VM of which nothing is said.
pub const DEFAULT_WEIGHT: u32 = 1;

/// One VM, as far as balancing needs to know it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct VirtualMachine {
    /// Only load balancers of the same namespace choose it.
    pub namespace: String,
    /// Unique in its namespace.
    pub name: String,
    /// What selectors match.
    pub labels: Labels,
    /// Runs, and is not about to be deleted.
    pub running: bool,
    /// In the order of the VM's status.
    pub interfaces: Vec<Interface>,
}

/// All VMs that exist, running or not. Those that are as they were are shared with the facts before.
pub type VirtualMachines = BTreeMap<NamespacedName, Arc<VirtualMachine>>;

/// One interface of a VM.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Interface {
    /// As the VM's definition names it.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Its Ethernet address.
    #[serde(with = "mac", skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Its main address; empty while unknown.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub ip_address: String,
    /// All its addresses.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub ip_addresses: Vec<String>,
}

impl VirtualMachine {
    /// `namespace/name`.
    pub fn key(&self) -> NamespacedName {
        NamespacedName::new(self.namespace.as_str(), self.name.as_str())
    }

    /// Its share of new flows, by its label [`WEIGHT`]. `None`: there is no such
    /// label, or it is no weight.
    pub fn weight(&self) -> Option<u32> {
        let weight = self.labels.get(WEIGHT)?.parse().ok()?;
        (weight <= MAX_WEIGHT).then_some(weight)
    }

    /// All its addresses that can be balanced to, each once, with their interfaces: the main ones first.
    pub fn addresses(&self) -> Vec<(&Interface, IpAddr)> {
        let main = self.interfaces.iter().map(|interface| (interface, &interface.ip_address));
        let others = self
            .interfaces
            .iter()
            .flat_map(|interface| interface.ip_addresses.iter().map(move |address| (interface, address)));
        // Guests tell as many as they like: each is looked up, not compared with all.
        let mut known = BTreeSet::new();
        let fit = main.chain(others).filter_map(|(interface, text)| {
            let address: IpAddr = text.parse().ok()?;
            (unfit(address).is_none() && known.insert(address)).then_some((interface, address))
        });
        fit.collect()
    }

    /// The station that VIPs of a family are balanced to, with the MAC of its interface: the first `ipAddress`
    /// of that family; where there is none, as on a VM of both families whose main address is of the other, the
    /// first of `ipAddresses`. Whatever else stands there (an address of the link alone, a prefix length, a
    /// fragment of text) is passed over.
    pub fn station(&self, family: Family) -> Option<Station> {
        let of_family = |text: &str| {
            let address: IpAddr = text.parse().ok()?;
            (Family::of(address) == family && unfit(address).is_none()).then_some(address)
        };
        let first = |texts: fn(&Interface) -> &[String]| {
            self.interfaces.iter().find_map(|interface| {
                let address = texts(interface).iter().find_map(|text| of_family(text))?;
                Some(Station { address, mac: interface.mac })
            })
        };
        first(|interface| std::slice::from_ref(&interface.ip_address))
            .or_else(|| first(|interface| &interface.ip_addresses))
    }
}

/// Where a VM is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Station {
    /// Its address.
    pub address: IpAddr,
    /// Its Ethernet address, if the facts tell it.
    pub mac: Option<Mac>,
}

pub(crate) use mac::parse as parse_mac;

mod mac {
    use super::Mac;
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[expect(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands it over like this"
    )]
    pub(super) fn serialize<S: Serializer>(mac: &Option<Mac>, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(Mac([a, b, c, d, e, f])) = mac else { return serializer.serialize_none() };
        serializer.collect_str(&format_args!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Mac>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        match parse(&text) {
            Some(mac) => Ok(Some(mac)),
            None if text.is_empty() => Ok(None),
            None => Err(de::Error::invalid_value(
                de::Unexpected::Str(&text),
                &"an Ethernet address such as 02:00:00:00:01:0b",
            )),
        }
    }

    /// Six pairs of hexadecimal digits, between `:` or `-`.
    pub(crate) fn parse(text: &str) -> Option<Mac> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part =
                parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        parts.next().is_none().then_some(Mac(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_addresses(addresses: &[&str]) -> VirtualMachine {
        let interfaces = addresses
            .iter()
            .map(|address| Interface { ip_address: (*address).into(), ..Interface::default() })
            .collect();
        VirtualMachine { interfaces, ..VirtualMachine::default() }
    }

    #[test]
    fn c7_the_first_address_of_a_family_is_balanced_to() {
        let cases: [(&[&str], Option<&str>); 6] = [
            (&["192.0.2.10"], Some("192.0.2.10")),
            (&[""], None),
            (&["2001:db8::1", "192.0.2.10/24", "text", "192.0.2.11", "10.42.0.1"], Some("192.0.2.11")),
            (&["192.0.2.10", "192.0.2.11"], Some("192.0.2.10")),
            (&["2001:db8::1"], None),
            (&[], None),
        ];
        for (addresses, expected) in cases {
            let station = with_addresses(addresses).station(Family::V4);
            assert_eq!(station.map(|s| s.address.to_string()).as_deref(), expected, "{addresses:?}");
        }
    }

    #[test]
    fn the_other_family_is_found_among_all_addresses_but_never_one_of_the_link_alone() {
        let mac = |last| Some(Mac([2, 0, 0, 0, 0, last]));
        let interface = |last, main: &str, all: &[&str]| Interface {
            mac: mac(last),
            ip_address: main.into(),
            ip_addresses: all.iter().map(|text| (*text).into()).collect(),
            ..Interface::default()
        };
        let at = |interfaces: &[Interface], family| {
            let vm = VirtualMachine { interfaces: interfaces.to_vec(), ..VirtualMachine::default() };
            vm.station(family).map(|station| (station.address.to_string(), station.mac))
        };
        let both = interface(1, "192.0.2.11", &["192.0.2.11", "fe80::1", "2001:db8::11", "2001:db8::12"]);
        assert_eq!(at(std::slice::from_ref(&both), Family::V4), Some(("192.0.2.11".into(), mac(1))));
        assert_eq!(at(std::slice::from_ref(&both), Family::V6), Some(("2001:db8::11".into(), mac(1))));
        let reversed = interface(2, "2001:db8::21", &["2001:db8::21", "192.0.2.21"]);
        assert_eq!(at(std::slice::from_ref(&reversed), Family::V4), Some(("192.0.2.21".into(), mac(2))));
        assert_eq!(
            at(&[both, reversed], Family::V6),
            Some(("2001:db8::21".into(), mac(2))),
            "a main one first"
        );
        let alone = [interface(3, "fe80::1", &["fe80::1", "::1", "::ffff:192.0.2.1", "ff02::1"])];
        assert_eq!((at(&alone, Family::V4), at(&alone, Family::V6)), (None, None));
    }

    #[test]
    fn a_vm_that_tells_a_hundred_thousand_addresses_is_looked_at_in_moments() {
        let count = 100_000_u32;
        let address = |index: u32| IpAddr::from((u32::from_be_bytes([198, 18, 0, 0]) + index).to_be_bytes());
        let mut vm = with_addresses(&["192.0.2.10", "192.0.2.11", "192.0.2.10"]);
        // Each of them twice, and the main one once more.
        let many = (0..count).chain(0..count).map(|index| address(index).to_string());
        vm.interfaces[1].ip_addresses = std::iter::once("192.0.2.10".to_owned()).chain(many).collect();
        let start = std::time::Instant::now();
        let all = vm.addresses();
        let elapsed = start.elapsed();
        let first: Vec<String> = all.iter().take(3).map(|(_, address)| address.to_string()).collect();
        assert_eq!(first, ["192.0.2.10", "192.0.2.11", "198.18.0.0"]);
        assert!(all.iter().skip(2).map(|(_, known)| *known).eq((0..count).map(address)), "in their order");
        assert!(elapsed < std::time::Duration::from_secs(15), "{elapsed:?}");
    }

    #[test]
    fn a_mac_is_read_and_written_and_a_wrong_one_is_refused() {
        let interface: Interface = serde_json::from_str(r#"{"mac": "02:00:00:00:01:0b"}"#).unwrap();
        assert_eq!(interface.mac, Some(Mac([2, 0, 0, 0, 1, 0x0b])));
        assert_eq!(serde_json::to_string(&interface).unwrap(), r#"{"name":"","mac":"02:00:00:00:01:0b"}"#);
        for text in ["02:00", "02:00:00:00:01:0b:0c", "02:00:00:00:01:zz", "2:0:0:0:1:b", "+2:00:00:00:01:0b"]
        {
            let json = serde_json::json!({ "mac": text });
            assert!(serde_json::from_value::<Interface>(json).is_err(), "{text}");
        }
    }
}
