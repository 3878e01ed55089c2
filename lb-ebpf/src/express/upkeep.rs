//! The upkeep of a flow that the express lane need not leave to the journey.

use lb_common::config::ConfigValue;
use lb_common::head::State;
use lb_common::next_hop::NextHop;
use lb_common::words::Words;

use crate::headers::Plain;
use crate::next_hop;
use crate::packet::Packet;

/// So many ticks, a power of two, may pass before both halves of a flow are looked at, which costs another cache miss.
/// Within them a half is only marked as used: the other one seems to be unused for so much longer.
const WINDOW: u16 = 4;

/// Has the flow of a packet that was last used in another tick only to be marked as used? Its time-out must be long
/// beside [`WINDOW`], and its client, if the packet is the client's, where it was.
#[inline(always)]
pub(super) fn waits<P: Packet>(
    packet: &P,
    plain: &Plain,
    half: &Words,
    config: &ConfigValue,
    tick: u16,
) -> bool {
    let timeout = config.timeout(half.head.protocol(), State::Established);
    let same_window = (half.last_seen() ^ tick) < WINDOW;
    same_window && timeout >= 4 * WINDOW && (half.head.is_reply() || stays(packet, plain, half))
}

/// Does the client's packet come from where its answers go?
#[inline(always)]
fn stays<P: Packet>(packet: &P, plain: &Plain, half: &Words) -> bool {
    half.head.at_egress()
        || next_hop::get(half.next_hop()).is_some_and(|hop| {
            hop.identity == NextHop::identity(plain.from, packet.interface())
                && hop.ifindex == packet.interface()
                && hop.vlans == 0
        })
}
