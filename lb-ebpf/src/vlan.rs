//! VLAN tags among a frame's bytes (IEEE 802.1Q): two at most, as in QinQ.
//!
//! In tc, the outermost tag is not among the bytes: the kernel keeps it beside them, and puts it back.

use lb_common::net::Be16;
use lb_common::reason::Reason;

use crate::headers::{QINQ, Tags, VLAN};
use crate::mask::select;
use crate::packet::Packet;

/// Bytes of a tag.
const TAG: u64 = 4;

/// Finds the network header behind tags, if any, and gives its EtherType. Without a branch: what follows would
/// be verified once for each number of tags.
///
/// # Errors
///
/// `Truncated`.
#[inline(always)]
pub fn enter<P: Packet>(packet: &mut P) -> Result<Be16, Reason> {
    packet.pull(Tags::END);
    let Tags { kind, inner, innermost, .. } = packet.header(Tags::START).ok_or(Reason::Truncated)?;
    let (offset, kind) = behind(*kind, *inner, *innermost);
    packet.enter(offset);
    Ok(kind)
}

/// Where the network header is, and of what kind.
#[inline(always)]
fn behind(kind: Be16, inner: Be16, innermost: Be16) -> (usize, Be16) {
    let (kind, inner, innermost) =
        (u64::from(kind.raw()), u64::from(inner.raw()), u64::from(innermost.raw()));
    let (outer_tag, inner_tag) = (tag(kind), tag(inner));
    let second = select(inner_tag, select(outer_tag, TAG, 0), 0);
    let offset = Tags::UNTAGGED as u64 + select(outer_tag, TAG, 0) + second;
    let kind = select(outer_tag, select(inner_tag, innermost, inner), kind);
    (offset as usize, Be16::from_raw(kind as u16))
}

/// Zero for the EtherType of a tag.
#[inline(always)]
const fn tag(kind: u64) -> u64 {
    (kind ^ VLAN.raw() as u64) * (kind ^ QINQ.raw() as u64)
}

#[cfg(test)]
mod tests {
    use crate::headers::{IPV4, IPV6};

    use super::*;

    #[test]
    fn up_to_two_tags_are_passed_by() {
        assert_eq!(behind(IPV4, VLAN, VLAN), (14, IPV4));
        assert_eq!(behind(VLAN, IPV4, VLAN), (18, IPV4));
        assert_eq!(behind(VLAN, IPV6, IPV4), (18, IPV6));
        assert_eq!(behind(QINQ, VLAN, IPV6), (22, IPV6));
        assert_eq!(behind(QINQ, VLAN, VLAN), (22, VLAN), "a third one");
    }
}
