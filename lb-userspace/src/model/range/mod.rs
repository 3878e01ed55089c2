//! A pool's address range: subnet, first and last address, gateway.

mod unfit;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::field::Problems;
use super::ip_pool::PoolRange;
pub(crate) use unfit::unfit;

/// A subnet; host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subnet {
    network: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// Parses `address/prefix`, and masks host bits off.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Self::new(address, prefix.parse().ok()?)
    }

    /// Of a network address, whose host bits are masked off; `None` if the prefix is longer than an address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let network = from_bits(address, bits(address) & !host_bits(address, prefix));
        (prefix <= width(address)).then_some(Self { network, prefix })
    }

    /// The smallest of two addresses or more that holds both, and in which hosts may have them; of two families there
    /// is none.
    pub(super) fn around(first: IpAddr, last: IpAddr) -> Option<Self> {
        let is_for_hosts = |subnet: &Self| {
            let (low, high) = subnet.hosts();
            (low..=high).contains(&first) && (low..=high).contains(&last)
        };
        let longest = width(first) - 1;
        (0..=longest).rev().filter_map(|prefix| Self::new(first, prefix)).find(is_for_hosts)
    }

    /// Its first address.
    pub const fn network(self) -> IpAddr {
        self.network
    }

    /// The bits that its addresses share.
    pub const fn prefix(self) -> u8 {
        self.prefix
    }

    /// Its mask, as dotted quads (IPv4) or colon groups (IPv6).
    pub fn mask(self) -> IpAddr {
        let all = host_bits(self.network, 0);
        from_bits(self.network, all & !host_bits(self.network, self.prefix))
    }

    fn last(self) -> IpAddr {
        from_bits(self.network, bits(self.network) | host_bits(self.network, self.prefix))
    }

    /// Whether an address is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4() && self.network <= address && address <= self.last()
    }

    /// The first and the last address that a host may have. A subnet of one or two addresses gives all of them
    /// (RFC 3021, RFC 6164); a larger one reserves its first, and in IPv4 its last.
    fn hosts(self) -> (IpAddr, IpAddr) {
        let (first, last) = (bits(self.network), bits(self.last()));
        if last - first < 2 {
            return (self.network, self.last());
        }
        let last = if self.network.is_ipv4() { last - 1 } else { last };
        (from_bits(self.network, first + 1), from_bits(self.network, last))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// A run of addresses, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its first address.
    pub first: IpAddr,
    /// Its last address: of the same family, not below the first.
    pub last: IpAddr,
}

impl Span {
    /// The address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// They have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// How many addresses it has.
    pub fn count(self) -> u128 {
        (bits(self.last) - bits(self.first)).saturating_add(1)
    }

    /// What follows an address of it, and what goes up to this address.
    pub fn split_after(self, address: IpAddr) -> (Option<Self>, Self) {
        let next = bits(address).checked_add(1).filter(|next| *next <= bits(self.last));
        let rest = next.map(|next| Self { first: from_bits(address, next), last: self.last });
        (rest, Self { first: self.first, last: address })
    }

    /// Its addresses from the first on.
    pub fn iter(self) -> impl Iterator<Item = IpAddr> + use<> {
        (bits(self.first)..=bits(self.last)).map(move |number| from_bits(self.first, number))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// A range of a pool, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// What the addresses are in.
    pub subnet: Subnet,
    /// The addresses.
    pub span: Span,
    /// Never given away; subnets of one or two addresses have none.
    pub gateway: Option<IpAddr>,
}

impl Range {
    /// Checks a range; `path` is its place in the pool. Problems are added, and then there is no range.
    pub(super) fn check(raw: &PoolRange, path: &str, problems: &mut Problems) -> Option<Self> {
        let subnet_path = format!("{path}.subnet");
        let Some(subnet) = Subnet::parse(&raw.subnet) else {
            problems.add(subnet_path, &raw.subnet, "not a subnet", "use CIDR notation such as 192.0.2.0/24");
            return None;
        };
        let (low, high) = subnet.hosts();
        let mut host =
            |field: &str, text: &str| parse_host(subnet, &format!("{path}.{field}"), text, problems);
        let start = host("rangeStart", &raw.range_start);
        let end = host("rangeEnd", &raw.range_end);
        let gateway = match raw.gateway.parse::<IpAddr>() {
            // Routers of IPv6 are known by such addresses, which are in no subnet.
            Ok(IpAddr::V6(router)) if subnet.network.is_ipv6() && router.is_unicast_link_local() => {
                Some(Some(IpAddr::V6(router)))
            }
            _ => host("gateway", &raw.gateway),
        };
        let (start, end, gateway) = (start?.unwrap_or(low), end?.unwrap_or(high), gateway?);
        if low == high && gateway.is_some() {
            let problem = "a subnet of one address has no gateway";
            problems.add(format!("{path}.gateway"), &raw.gateway, problem, "leave it out");
            return None;
        }
        let has_network_address = low != subnet.network;
        let gateway = gateway.or(has_network_address.then_some(low));
        let span = Span { first: start.min(end), last: start.max(end) };
        if let Some(problem) = unfit::unfit_in(span) {
            problems.add(path, span.to_string(), problem, "use addresses that clients can reach");
            return None;
        }
        if span.count() == 1 && gateway == Some(span.first) {
            let problem = "the only address is the gateway's";
            problems.add(path, span.to_string(), problem, "widen the range or give another gateway");
            return None;
        }
        Some(Self { subnet, span, gateway })
    }
}

/// `None` after a problem, `Some(None)` for an empty text.
#[expect(clippy::option_option, reason = "absent and wrong are different things")]
fn parse_host(subnet: Subnet, path: &str, text: &str, problems: &mut Problems) -> Option<Option<IpAddr>> {
    if text.is_empty() {
        return Some(None);
    }
    let (low, high) = subnet.hosts();
    let problem = match text.parse::<IpAddr>() {
        Ok(address) if !subnet.contains(address) => format!("not in subnet {subnet}"),
        Ok(address) if address < low => "the subnet's network address".to_owned(),
        Ok(address) if address > high => "the subnet's broadcast address".to_owned(),
        Ok(address) => return Some(Some(address)),
        Err(_) => "not an IP address".to_owned(),
    };
    problems.add(path, text, problem, format!("use an address from {low} to {high}, or leave it out"));
    None
}

const fn width(family: IpAddr) -> u8 {
    if family.is_ipv4() { 32 } else { 128 }
}

/// Ones for the bits after the prefix.
fn host_bits(family: IpAddr, prefix: u8) -> u128 {
    let host = u32::from(width(family).saturating_sub(prefix));
    1_u128.checked_shl(host).unwrap_or(0).wrapping_sub(1)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The inverse of [`bits`] for the family of `like`; bits beyond it are cut off.
#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the IPv4 address")]
fn from_bits(like: IpAddr, number: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

#[cfg(test)]
mod tests;
