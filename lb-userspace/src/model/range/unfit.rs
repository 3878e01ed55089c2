//! Addresses that can be neither a VIP nor a backend.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Span;

/// Why; `None` for one that can.
pub(crate) fn unfit(address: IpAddr) -> Option<&'static str> {
    unfit_in(Span { first: address, last: address })
}

/// Why some address of a span can't be one; `None` where all can.
pub(super) fn unfit_in(span: Span) -> Option<&'static str> {
    BLOCKS.iter().find(|(block, _)| block.overlaps(span)).map(|(_, problem)| *problem)
}

const NO_HOST: &str = "not an address that a host can have";

const BLOCKS: [(Span, &str); 8] = [
    (v4([0, 0, 0, 0], [0, 0, 0, 0]), NO_HOST),
    (v4([127, 0, 0, 0], [127, 255, 255, 255]), NO_HOST),
    (v4([224, 0, 0, 0], [239, 255, 255, 255]), NO_HOST),
    (v4([255, 255, 255, 255], [255, 255, 255, 255]), NO_HOST),
    // The unspecified address and the loopback address.
    (v6([0; 8], [0, 0, 0, 0, 0, 0, 0, 1]), NO_HOST),
    (
        v6([0, 0, 0, 0, 0, 0xffff, 0, 0], [0, 0, 0, 0, 0, 0xffff, 0xffff, 0xffff]),
        "an IPv4 address in disguise",
    ),
    (
        v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], [0xfebf, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff]),
        "a link-local address, which means something else on each link",
    ),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], [0xffff; 8]), NO_HOST),
];

const fn v4([a, b, c, d]: [u8; 4], [e, f, g, h]: [u8; 4]) -> Span {
    Span { first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), last: IpAddr::V4(Ipv4Addr::new(e, f, g, h)) }
}

const fn v6([a, b, c, d, e, f, g, h]: [u16; 8], [i, j, k, l, m, n, o, p]: [u16; 8]) -> Span {
    Span {
        first: IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)),
        last: IpAddr::V6(Ipv6Addr::new(i, j, k, l, m, n, o, p)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_a_host_has_on_every_link_fit() {
        for fit in ["192.0.2.1", "10.0.0.1", "169.254.1.1", "2001:db8::1", "fd00::1", "::2"] {
            assert_eq!(unfit(fit.parse().unwrap()), None, "{fit}");
        }
        for wrong in ["0.0.0.0", "127.1.2.3", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
            assert_eq!(unfit(wrong.parse().unwrap()), Some(NO_HOST), "{wrong}");
        }
        for wrong in ["::ffff:192.0.2.1", "fe80::1", "febf::1"] {
            assert!(unfit(wrong.parse().unwrap()).is_some(), "{wrong}");
        }
    }
}
