//! Lease files: text → leases. What is not understood is passed over: servers write what only they know, and a reader
//! may come in the middle of a line.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::model::Lease;
use crate::model::range::unfit;
use crate::model::vm::parse_mac;

/// The leases by address. Servers append: what is told last of an address holds.
type ByAddress = BTreeMap<IpAddr, Lease>;

/// The file is no server's that is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is not a lease file of dnsmasq, Kea or ISC dhcpd")]
pub(super) struct UnknownFormat;

/// The leases of a file, also those that have ended.
pub(super) fn read(text: &str) -> Result<Vec<Lease>, UnknownFormat> {
    let text = whole_lines(text);
    let Some(first) = lines(text).next() else { return Ok(Vec::new()) };
    let lines = || lines(text);
    let leases = if is_keas_header(first) {
        kea(lines())
    } else if is_iscs(first) {
        isc(lines())
    } else if first.starts_with("duid ") || dnsmasq_line(first).is_some() {
        lines().filter_map(dnsmasq_line).map(|lease| (lease.address, lease)).collect()
    } else {
        return Err(UnknownFormat);
    };
    Ok(leases.into_values().filter(|lease| unfit(lease.address).is_none()).collect())
}

/// The text up to the last end of a line: what follows is being written.
pub(super) fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| text.get(..=end).unwrap_or_default())
}

/// Whether the text is of Kea, or not yet of anybody. Such texts can be joined: a later row holds.
pub(super) fn may_be_keas(text: &str) -> bool {
    lines(text).next().is_none_or(is_keas_header)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn is_keas_header(line: &str) -> bool {
    line.starts_with("address,")
}

/// `ENDS MAC ADDRESS HOSTNAME CLIENT-ID`; for IPv6, a number of the client's stands in place of the MAC.
fn dnsmasq_line(line: &str) -> Option<Lease> {
    let mut words = line.split_whitespace();
    let ends: i64 = words.next()?.parse().ok()?;
    let mac = parse_mac(words.next()?);
    let address = words.next()?.parse().ok()?;
    let hostname = words.next()?;
    words.next()?;
    let hostname = if hostname == "*" { String::new() } else { hostname.to_owned() };
    Some(Lease { address, mac, hostname, ends: (ends != 0).then_some(ends) })
}

/// Comma-separated values under lines of names, which differ between versions and families.
fn kea<'a>(lines: impl Iterator<Item = &'a str>) -> ByAddress {
    /// Kea writes it for a lease without end.
    const NEVER: i64 = 0xffff_ffff;
    /// Other types are temporary addresses, and prefixes for whoever is behind the client.
    const ADDRESS: &str = "0";
    let mut names: Vec<&str> = Vec::new();
    let mut leases = ByAddress::new();
    for line in lines {
        let values: Vec<&str> = line.split(',').collect();
        if is_keas_header(line) {
            names = values;
            continue;
        }
        let value = |name: &str| {
            let index = names.iter().position(|given| *given == name)?;
            values.get(index).copied()
        };
        if value("lease_type").is_some_and(|kind| kind != ADDRESS) {
            continue;
        }
        let (Some(address), Some(ends)) = (
            value("address").and_then(|a| a.parse().ok()),
            value("expire").and_then(|e| e.parse::<i64>().ok()),
        ) else {
            continue;
        };
        let number = |name: &str| value(name).and_then(|text| text.parse::<i64>().ok());
        let is_lent = number("state").unwrap_or_default() == 0 && number("valid_lifetime") != Some(0);
        if !is_lent {
            leases.remove(&address);
            continue;
        }
        let mac = value("hwaddr").and_then(parse_mac);
        let hostname = value("hostname").unwrap_or_default().trim_end_matches('.').to_owned();
        let is_endless = number("valid_lifetime") == Some(NEVER);
        leases.insert(address, Lease { address, mac, hostname, ends: (!is_endless).then_some(ends) });
    }
    leases
}

fn is_iscs(first: &str) -> bool {
    ["lease ", "authoring-byte-order ", "server-duid ", "failover "]
        .iter()
        .any(|word| first.starts_with(word))
}

/// `lease ADDRESS {`, statements that end with `;`, `}`.
fn isc<'a>(lines: impl Iterator<Item = &'a str>) -> ByAddress {
    let mut leases = ByAddress::new();
    let mut open: Option<(Lease, bool)> = None;
    for line in lines {
        if let Some(rest) = line.strip_prefix("lease ") {
            let address = rest.trim_end_matches('{').trim().parse().ok();
            open = address
                .map(|address| (Lease { address, mac: None, hostname: String::new(), ends: None }, false));
            continue;
        }
        if line == "}" {
            match open.take() {
                Some((lease, true)) => drop(leases.insert(lease.address, lease)),
                Some((lease, false)) => drop(leases.remove(&lease.address)),
                None => {}
            }
            continue;
        }
        let Some((lease, is_active)) = &mut open else { continue };
        let statement = line.split(';').next().unwrap_or_default();
        let words: Vec<&str> = statement.split_whitespace().collect();
        match words.as_slice() {
            ["binding", "state", state] => *is_active = *state == "active",
            ["hardware", "ethernet", mac] => lease.mac = parse_mac(mac),
            ["client-hostname", name] => name.trim_matches('"').clone_into(&mut lease.hostname),
            ["ends", rest @ ..] => lease.ends = isc_moment(rest),
            _ => {}
        }
    }
    leases
}

/// `4 2026/11/22 18:00:00`, in UTC, or `epoch 1700000000`. Anything else is taken for `never`.
fn isc_moment(words: &[&str]) -> Option<i64> {
    let (date, time) = match words {
        ["epoch", seconds] => return seconds.parse().ok(),
        [_, date, time] => (date, time),
        _ => return None,
    };
    let date: Date = date.replace('/', "-").parse().ok()?;
    let time: Time = time.parse().ok()?;
    Some(date.to_datetime(time).to_zoned(TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Address, MAC's last byte, host name, end; of each lease.
    fn told(text: &str) -> Vec<(String, Option<u8>, String, Option<i64>)> {
        let last = |lease: &Lease| lease.mac.map(|mac| mac.0[5]);
        let row =
            |lease: &Lease| (lease.address.to_string(), last(lease), lease.hostname.clone(), lease.ends);
        read(text).unwrap().iter().map(row).collect()
    }

    fn row(
        address: &str,
        mac: Option<u8>,
        name: &str,
        ends: Option<i64>,
    ) -> (String, Option<u8>, String, Option<i64>) {
        (address.into(), mac, name.into(), ends)
    }

    #[test]
    fn dnsmasqs_leases_are_read() {
        let text = "1700000000 52:54:00:00:00:01 192.0.2.11 web-1 ff:00:01\n0 52:54:00:00:00:02 192.0.2.12 * *\n\
                    duid 00:01:00:01:2c:aa\n1700000100 33554433 2001:db8::11 web-1 00:01:00:01\n1700000200 52:54:00:00:00:03 192.0.2.1";
        let expected = [
            row("192.0.2.11", Some(1), "web-1", Some(1_700_000_000)),
            row("192.0.2.12", Some(2), "", None),
            row("2001:db8::11", None, "web-1", Some(1_700_000_100)),
        ];
        assert_eq!(told(text), expected);
    }

    #[test]
    fn keas_leases_are_read_in_both_families() {
        let text = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id\n\
            192.0.2.11,52:54:00:00:00:01,01:52:54,3600,1700000000,1,0,0,old,0,,0\n\
            192.0.2.11,52:54:00:00:00:01,01:52:54,3600,1700003600,1,0,0,web-1.,0,,0\n\
            192.0.2.12,52:54:00:00:00:02,,3600,1700000000,1,0,0,gone,0,,0\n\
            192.0.2.12,52:54:00:00:00:02,,0,1700000000,1,0,0,gone,0,,0\n\
            192.0.2.13,52:54:00:00:00:03,,3600,1700000000,1,0,0,declined,1,,0\n\
            192.0.2.14,52:54:00:00:00:04,,4294967295,6000000000,1,0,0,,0,,0\n";
        let expected =
            [row("192.0.2.11", Some(1), "web-1", Some(1_700_003_600)), row("192.0.2.14", Some(4), "", None)];
        assert_eq!(told(text), expected);
        let v6 = "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context\n\
            2001:db8::11,00:01,4000,1700000000,1,3000,0,1,128,0,0,web-1,52:54:00:00:00:01,0,\n";
        assert_eq!(told(v6), [row("2001:db8::11", Some(1), "web-1", Some(1_700_000_000))]);
    }

    #[test]
    fn keas_delegated_prefixes_are_nobodys_address() {
        let text = "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,hwaddr,state\n\
            2001:db8::11,00:01,4000,1700000000,1,3000,0,1,128,52:54:00:00:00:01,0\n\
            2001:db8:1::,00:01,4000,1700000000,1,3000,2,1,56,52:54:00:00:00:01,0\n\
            2001:db8::11,00:01,0,1700000000,1,3000,2,1,128,52:54:00:00:00:01,0\n";
        assert_eq!(told(text), [row("2001:db8::11", Some(1), "", Some(1_700_000_000))]);
    }

    #[test]
    fn keas_files_of_different_versions_are_read_as_one() {
        let old = "address,hwaddr,valid_lifetime,expire,state\n192.0.2.11,52:54:00:00:00:01,60,1700000000,0\n\
            192.0.2.12,52:54:00:00:00:02,60,1700000000,0\n";
        let new = "address,expire,state,valid_lifetime,hwaddr\n192.0.2.11,1700000060,0,60,52:54:00:00:00:01\n\
            192.0.2.12,1700000060,0,0,52:54:00:00:00:02\n";
        assert_eq!(told(&[old, new].concat()), [row("192.0.2.11", Some(1), "", Some(1_700_000_060))]);
    }

    #[test]
    fn isc_dhcpds_leases_are_read() {
        let text = "# The format of this file is documented in the dhcpd.leases(5) manual page.\n\
            authoring-byte-order little-endian;\n\n\
            lease 192.0.2.11 {\n  starts 2 2023/11/14 21:13:20;\n  ends 2 2023/11/14 22:13:20;\n  binding state active;\n\
              next binding state free;\n  hardware ethernet 52:54:00:00:00:01;\n  client-hostname \"web-1\";\n}\n\
            lease 192.0.2.12 {\n  ends never;\n  binding state active;\n  hardware ethernet 52:54:00:00:00:02;\n}\n\
            lease 192.0.2.13 {\n  ends epoch 1700000000; # Tue\n  binding state active;\n}\n\
            lease 192.0.2.13 {\n  binding state free;\n}\n\
            lease 192.0.2.14 {\n  ends epoch 1700000000; # Tue\n  binding state active;\n";
        let expected =
            [row("192.0.2.11", Some(1), "web-1", Some(1_700_000_000)), row("192.0.2.12", Some(2), "", None)];
        assert_eq!(told(text), expected);
    }

    #[test]
    fn other_files_are_told_apart_from_empty_ones() {
        for text in ["", "\n\n", "# a comment\n", "half a line"] {
            assert!(told(text).is_empty(), "{text}");
        }
        for text in ["virtualMachines: []\n", "1 2\n", "\u{0}\u{1}\n"] {
            assert_eq!(read(text), Err(UnknownFormat), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            first in "(address,hwaddr,expire|lease 192.0.2.1 \\{|1 52:54:00:00:00:01 192.0.2.1 a b|.*)\n",
            rest in "([0-9a-f:. ,;{}]*\n){0,5}",
        ) {
            drop(read(&(first + &rest)));
        }
    }
}
