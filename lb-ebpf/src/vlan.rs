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
    let tags = packet.header(Tags::START).ok_or(Reason::Truncated)?;
    let Behind { network, kind, vlans } = behind(tags);
    packet.enter(network, vlans);
    Ok(kind)
}

/// The VLANs of a packet whose network header was found: the id of the innermost tag in the low half, of one outside
/// it in the high half. 0: none, or none but priorities.
#[inline(always)]
pub fn of<P: Packet>(packet: &P) -> u32 {
    // One tag among the bytes takes the low half; of two and one more, `exceed` tells.
    let half = ((packet.network() - Tags::UNTAGGED) as u32 & TAG as u32) * (16 / TAG as u32);
    packet.inner_vlans() | packet.outer_vlan() << half
}

/// The VLAN's id in a tag's control information.
#[inline(always)]
pub const fn id(control: u32) -> u32 {
    control & 0xfff
}

/// More tags than are looked behind?
#[inline(always)]
pub fn exceed<P: Packet>(packet: &P) -> bool {
    packet.network() > Tags::UNTAGGED + TAG as usize && packet.outer_vlan() != 0
}

/// What stands behind the tags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Behind {
    /// Where the network header is.
    network: usize,
    /// Of what kind.
    kind: Be16,
    /// The VLANs of the tags, as in [`of`].
    vlans: u32,
}

#[inline(always)]
fn behind(tags: &Tags) -> Behind {
    let [kind, inner, innermost] = [tags.kind, tags.inner, tags.innermost].map(|kind| u64::from(kind.raw()));
    let [first, second] =
        [tags.control, tags.inner_control].map(|control| u64::from(id(control.get().into())));
    let (outer_tag, inner_tag) = (tag(kind), tag(inner));
    let further = select(inner_tag, select(outer_tag, TAG, 0), 0);
    let network = Tags::UNTAGGED as u64 + select(outer_tag, TAG, 0) + further;
    let kind = select(outer_tag, select(inner_tag, innermost, inner), kind);
    let vlans = select(outer_tag, select(inner_tag, second | first << 16, first), 0);
    Behind { network: network as usize, kind: Be16::from_raw(kind as u16), vlans: vlans as u32 }
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
        let behind = |kind, inner, innermost| {
            let (control, inner_control) = (Be16::new(0xe007), Be16::new(100));
            let found = behind(&Tags { kind, control, inner, inner_control, innermost });
            (found.network, found.kind, found.vlans)
        };
        assert_eq!(behind(IPV4, VLAN, VLAN), (14, IPV4, 0));
        assert_eq!(behind(VLAN, IPV4, VLAN), (18, IPV4, 7));
        assert_eq!(behind(VLAN, IPV6, IPV4), (18, IPV6, 7));
        assert_eq!(behind(QINQ, VLAN, IPV6), (22, IPV6, 7 << 16 | 0x64));
        assert_eq!(behind(QINQ, VLAN, VLAN), (22, VLAN, 7 << 16 | 0x64), "a third one");
    }
}
