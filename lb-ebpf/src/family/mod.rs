//! Address families: what IPv4 and IPv6 have to bring along.

mod v4;
mod v6;

use lb_common::backend::BackendValue;
use lb_common::csum::Delta;
use lb_common::net::Be16;
use lb_common::port::PortValue;
use lb_common::reason::Reason;
use lb_common::stage::Stage;

use crate::answer::Complaint;
use crate::event::Events;
use crate::fragment::Fragments;
use crate::headers::Header;
use crate::journey::Step;
use crate::listener::Listeners;
use crate::packet::Packet;
use crate::parse::{Ip, Segment};
use crate::policy::Clients;
use crate::rewrite::Rewrite;
use crate::select::affinity::Affine;
use crate::transmit::Order;
use crate::verdict::Action;

pub use v4::V4;
pub use v6::V6;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::V4 {}
    impl Sealed for super::V6 {}
}

/// An address family: its header, and by its addresses its maps.
pub trait Family: sealed::Sealed {
    /// Its addresses.
    type Address: Events + Listeners + Clients + Affine + Fragments + Header;
    /// Its header without options or extensions.
    type Fixed: Header;
    /// Both addresses as they follow each other in the header.
    type Pair: Header;
    /// Its EtherType.
    const KIND: Be16;
    /// The protocol number of its control messages.
    const CONTROL: u8;
    /// Where both addresses begin, from the start of the header.
    const ADDRESSES: usize;
    /// Where the TTL is, from the start of the header.
    const HOPS: usize;
    /// Where the header's own checksum is, from the start of the header.
    const CHECKSUM: Option<usize>;
    /// Where a packet takes its flow.
    const FOLLOW: Stage;
    /// Where a packet goes that no live flow takes.
    const OPEN: Stage;
    /// Where a packet is refused.
    const REFUSE: Stage;
    /// Where control messages go.
    const CONTROL_STAGE: Stage;
    /// Where a packet goes that is not [`Family::is_plain`].
    const FRAGMENT: Stage;

    /// Reads the header, which begins at `network` from the start of the frame.
    fn read(header: &Self::Fixed, network: usize) -> Ip<Self::Address>;

    /// Does the header name what follows it, and is that whole?
    fn is_plain(ip: &Ip<Self::Address>) -> bool;

    /// Finds what the header leads to, if it is not [`Family::is_plain`]; `None` where that is not found.
    fn locate<P: Packet>(packet: &mut P, ip: Ip<Self::Address>) -> Option<Ip<Self::Address>>;

    /// May routers on its way cut the packet into fragments?
    fn is_divisible<P: Packet>(packet: &P) -> bool;

    /// The change of the header's own checksum.
    fn header_change(rewrite: &Rewrite<Self::Address>) -> Delta;

    /// The new addresses.
    fn addresses(rewrite: &Rewrite<Self::Address>) -> Self::Pair;

    /// Rewrites the header.
    fn write(header: &mut Self::Fixed, rewrite: &Rewrite<Self::Address>);

    /// A backend's address.
    fn backend(backend: &BackendValue) -> Self::Address;

    /// Can somebody with this address be answered?
    fn answerable(address: Self::Address) -> bool;

    /// Is a control message of this type an error, about a packet that it quotes?
    fn is_error(kind: u8) -> bool;

    /// Takes a control message (ICMP).
    ///
    /// # Errors
    ///
    /// The reason why it is not answered.
    fn control<P: Packet>(packet: &mut P, ip: &Ip<Self::Address>, port: &PortValue)
    -> Result<Action, Reason>;

    /// Carries out what was decided about a packet that took its flow, now or, where both need too much stack to
    /// do so together, in the function that comes after it.
    ///
    /// # Errors
    ///
    /// Why that is not possible; the packet is untouched unless it is `WriteFailed`.
    fn carry_out<P: Packet>(
        packet: &mut P,
        order: &Order<Self::Address>,
        port: &PortValue,
    ) -> Result<Step, Reason>;

    /// Counts a packet of `bytes` for its flow, after it was carried out.
    fn account(order: &Order<Self::Address>, bytes: u32);

    /// Turns a TCP segment into its refusal; `None` where it can't be.
    fn reset<P: Packet>(packet: &mut P, segment: &Segment<Self::Address>, port: &PortValue) -> Option<()>;

    /// Turns a segment into an ICMP error about it; `None` where it can't be.
    fn error<P: Packet>(
        packet: &mut P,
        segment: &Segment<Self::Address>,
        port: &PortValue,
        complaint: Complaint,
    ) -> Option<()>;
}
