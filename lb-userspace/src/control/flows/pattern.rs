//! Addresses that a query asks for: `192.0.2.1`, `192.0.2.1:80`, `192.0.2.0/24`, `[2001:db8::1]:80`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// A range of addresses, and perhaps a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pattern {
    network: IpAddr,
    /// Leading bits that count.
    length: u32,
    port: Option<u16>,
}

/// What can't be read as one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no address; write an address, address:port, or a range like 192.0.2.0/24")]
pub(super) struct ParsePattern(String);

impl Pattern {
    /// Is the address in the range, and the port the one?
    pub(super) fn fits(&self, address: SocketAddr) -> bool {
        self.port.is_none_or(|port| port == address.port())
            && address.is_ipv4() == self.network.is_ipv4()
            && self.leading(bits(address.ip())) == self.leading(bits(self.network))
    }

    fn leading(&self, bits: u128) -> u128 {
        bits.checked_shr(128 - self.length).unwrap_or(0)
    }
}

/// Left-aligned, so that a prefix is the same number of leading bits in both families.
const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => (v4.to_bits() as u128) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

const fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl FromStr for Pattern {
    type Err = ParsePattern;

    fn from_str(text: &str) -> Result<Self, ParsePattern> {
        let wrong = || ParsePattern(text.to_owned());
        if let Ok(address) = text.parse::<SocketAddr>() {
            let port = Some(address.port());
            return Ok(Self { network: address.ip(), length: width(address.ip()), port });
        }
        let (network, length) =
            text.split_once('/').map_or((text, None), |(net, length)| (net, Some(length)));
        let network: IpAddr = network.parse().ok().ok_or_else(wrong)?;
        let length = match length {
            None => width(network),
            Some(length) => length.parse().ok().filter(|l| *l <= width(network)).ok_or_else(wrong)?,
        };
        Ok(Self { network, length, port: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_its_addresses_and_no_others() {
        for (pattern, fits, fails) in [
            ("192.0.2.1", "192.0.2.1:7", "192.0.2.2:7"),
            ("192.0.2.1:80", "192.0.2.1:80", "192.0.2.1:81"),
            ("192.0.2.0/24", "192.0.2.255:1", "192.0.3.0:1"),
            ("192.0.2.77/25", "192.0.2.1:1", "192.0.2.128:1"),
            ("0.0.0.0/0", "203.0.113.9:1", "[2001:db8::1]:1"),
            ("2001:db8::/32", "[2001:db8:ffff::1]:1", "[2001:db9::1]:1"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80", "[2001:db8::1]:81"),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert!(parsed.fits(fits.parse().unwrap()), "{pattern} {fits}");
            assert!(!parsed.fits(fails.parse().unwrap()), "{pattern} {fails}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for text in ["", "web-1", "192.0.2.1/33", "192.0.2.1:99999", "192.0.2.0/24:80"] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("192.0.2.0/24"), "{error}");
        }
    }
}
