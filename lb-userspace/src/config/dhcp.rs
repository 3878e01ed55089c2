//! How addresses are obtained by DHCP.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::Checks;
use super::{InterfacePattern, duration, schema};
use crate::ipam::dhcp::model::Hardware;
use crate::model::meta::{NamespacedName, ParseNamespacedName};

/// As RFC 5227 has it, with the shortest of its pauses.
const PROBE: Duration = Duration::from_secs(3);
const LONGEST_PROBE: Duration = Duration::from_mins(1);
/// As RFC 2131 has it.
const PAUSE: Duration = Duration::from_secs(64);
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_hours(1));
/// 12 bits, of which the greatest number is reserved.
const LAST_VLAN: u16 = 4094;

/// How addresses are obtained by DHCP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dhcp {
    /// Where load balancers without a network ask; `None` is the first uplink, or the bridge that it is in.
    pub interface: Option<String>,
    /// Whose MAC messages carry.
    pub hardware: Hardware,
    /// How long is listened for somebody who has an address already, before it is used; zero is not at all.
    pub probe: Duration,
    /// The longest pause between questions that nobody answers.
    pub longest_pause: Duration,
    /// Where load balancers of a network ask, by `namespace/name` of the network.
    pub networks: BTreeMap<String, Network>,
}

impl Default for Dhcp {
    fn default() -> Self {
        Self {
            interface: None,
            hardware: Hardware::default(),
            probe: PROBE,
            longest_pause: PAUSE,
            networks: BTreeMap::new(),
        }
    }
}

impl Dhcp {
    /// The VLANs of networks, by `namespace/name` of the network.
    pub fn vlans(&self) -> BTreeMap<String, u16> {
        self.networks.iter().map(|(name, network)| (name.clone(), network.vlan)).collect()
    }
}

/// A network of VMs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// The interface that leads to it.
    pub interface: String,
    /// Its VLAN there; 0 is none.
    pub vlan: u16,
}

impl Checks {
    pub(super) fn dhcp(&mut self, file: schema::Dhcp) -> Dhcp {
        if let Some(interface) = &file.interface {
            self.interface("dhcp.interface", interface);
        }
        let hardware = match file.hardware_address.as_deref() {
            None | Some("interface") => Hardware::Interface,
            Some("derived") => Hardware::Derived,
            Some(other) => {
                let problem = format!("{other:?} is no choice; use interface or derived");
                self.add("dhcp.hardwareAddress", problem);
                Hardware::Interface
            }
        };
        let probe = self.pause("dhcp.probe", file.probe.as_deref(), PROBE, (Duration::ZERO, LONGEST_PROBE));
        let longest_pause = self.pause("dhcp.longestPause", file.longest_pause.as_deref(), PAUSE, PAUSES);
        let networks = file.networks.into_iter().map(|(name, network)| {
            let network = self.network(&name, network);
            (name, network)
        });
        Dhcp { interface: file.interface, hardware, probe, longest_pause, networks: networks.collect() }
    }

    fn network(&mut self, name: &str, file: schema::Network) -> Network {
        let field = format!("dhcp.networks.{name}");
        if let Err(error @ ParseNamespacedName(_)) = name.parse::<NamespacedName>() {
            self.add(&field, error);
        }
        self.interface(&format!("{field}.interface"), &file.interface);
        let vlan = u16::try_from(file.vlan).ok().filter(|vlan| *vlan <= LAST_VLAN).unwrap_or_else(|| {
            self.add(
                format!("{field}.vlan"),
                format!("{} is no VLAN; use 1 to {LAST_VLAN}, or 0 for none", file.vlan),
            );
            0
        });
        Network { interface: file.interface, vlan }
    }

    fn interface(&mut self, field: &str, name: &str) {
        if name.contains(['*', '?']) {
            self.add(field, format!("{name:?} is a pattern; name one interface"));
        } else if let Err(error) = InterfacePattern::new_checked(name) {
            self.add(field, error);
        }
    }

    fn pause(
        &mut self,
        field: &str,
        text: Option<&str>,
        default: Duration,
        (least, most): (Duration, Duration),
    ) -> Duration {
        match text.map(duration::parse) {
            None => default,
            Some(Ok(value)) if (least..=most).contains(&value) => value,
            Some(Ok(value)) => {
                self.add(field, format!("{value:?} is out of range; use {least:?} to {most:?}"));
                default
            }
            Some(Err(error)) => {
                self.add(field, error);
                default
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parsed(text: &str) -> Result<Dhcp, String> {
        let config = super::super::parse(text, Path::new("lb.yaml"), || Ok("host-1".into()));
        config.map(|config| config.dhcp).map_err(|error| error.to_string())
    }

    #[test]
    fn every_field_is_read_and_has_a_default() {
        assert_eq!(parsed("").unwrap(), Dhcp::default());
        let text = "dhcp: {interface: br0, hardwareAddress: derived, probe: 0s, longestPause: 500ms, \
                    networks: {lab/vlan7: {interface: eth0, vlan: 7}, lab/plain: {interface: eth1}}}";
        let network = |interface: &str, vlan| Network { interface: interface.to_owned(), vlan };
        let expected = Dhcp {
            interface: Some("br0".to_owned()),
            hardware: Hardware::Derived,
            probe: Duration::ZERO,
            longest_pause: Duration::from_millis(500),
            networks: [("lab/plain", network("eth1", 0)), ("lab/vlan7", network("eth0", 7))]
                .map(|(name, network)| (name.to_owned(), network))
                .into(),
        };
        assert_eq!(parsed(text).unwrap(), expected);
    }

    #[test]
    fn all_wrong_values_are_listed_at_once() {
        let text = "dhcp: {interface: 'e*', hardwareAddress: mine, probe: 2m, longestPause: soon, \
                    networks: {vlan7: {interface: a/b, vlan: 4095}}}";
        insta::assert_snapshot!(parsed(text).unwrap_err());
    }
}
