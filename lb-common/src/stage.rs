//! Stages: programs that hand a packet on to one another by tail call, so that each is checked by the verifier
//! alone. A stage reads the packet anew.

/// Index into the program array of a hook.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Stage {
    /// The program that is attached: IPv4 without VLAN tag takes its flow, ARP is answered.
    Arrive = 0,
    /// As [`Stage::Arrive`], for a frame with VLAN tags among its bytes, or that [`Stage::StartV4`] leaves.
    Tagged,
    /// IPv4 without VLAN tag, options or fragments with which flows begin.
    StartV4,
    /// IPv4 that no live flow takes.
    OpenV4,
    /// IPv4 that is refused.
    RefuseV4,
    /// ICMP.
    ControlV4,
    /// Fragments of IPv4.
    FragmentV4,
    /// IPv6 takes its flow.
    FollowV6,
    /// IPv6 that no live flow takes.
    OpenV6,
    /// IPv6 that is refused.
    RefuseV6,
    /// ICMPv6.
    ControlV6,
    /// Fragments of IPv6, and IPv6 with extension headers.
    FragmentV6,
}

/// Entries of a program array.
pub const STAGES: u32 = Stage::FragmentV6 as u32 + 1;
