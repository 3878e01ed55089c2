//! Why a packet was not simply forwarded: one name for the variant, the counter and the shown word.

/// Index into REASONS. Dense; append only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Reason {
    /// Nothing of ours: passed untouched.
    NotOurs = 0,
    /// Ends inside a header that was to be read.
    Truncated,
    /// Carries more VLAN tags than are looked behind: passed.
    VlanTagged,
    /// IPv6: passed.
    Ipv6,
    /// A malformed IP or transport header, addressed to a VIP.
    Malformed,
    /// A fragment addressed to a VIP that hides the ports or flags of its packet, or could overwrite them.
    Fragment,
    /// Addressed to a VIP, neither TCP, UDP nor ICMP.
    ProtocolUnknown,
    /// ICMP to a VIP, not an echo request.
    IcmpUnhandled,
    /// Addressed to a VIP through an uplink, but to another node's MAC: passed.
    ForeignMac,
    /// An ARP request for a VIP was answered.
    ArpAnswered,
    /// An echo request to a VIP was answered.
    EchoAnswered,
    /// TCP to a VIP without that listener: answered with RST.
    NoListenerReset,
    /// UDP to a VIP without that listener: answered with ICMP port unreachable.
    NoListenerUnreachable,
    /// A VIP without that listener whose policy is to drop, or a packet that must not be answered.
    NoListenerDropped,
    /// TCP to a listener without ready backend: answered with RST.
    NoBackendReset,
    /// UDP to a listener without ready backend: answered with ICMP port unreachable.
    NoBackendUnreachable,
    /// A listener without ready backend whose policy is to drop, or a packet that must not be answered.
    NoBackendDropped,
    /// The backend of a flow is dead: the flow is selected anew (UDP) or reset (TCP).
    BackendDead,
    /// The answer's tuple is taken by another flow.
    FlowConflict,
    /// No free source port was found for a masqueraded flow.
    PortsExhausted,
    /// Bucket and overflow map are full of live flows.
    TableFull,
    /// A flow went into the overflow map.
    Overflowed,
    /// The neighbour's MAC is unknown: the rewritten packet is handed to the stack.
    NeighbourUnknown,
    /// The client's next hop is unknown: the answer can't be sent.
    NextHopUnknown,
    /// The TTL does not allow another hop: passed to the stack, which answers.
    TtlExpired,
    /// A VM dials a VIP that it serves itself: redirected back.
    Hairpin,
    /// A direct connection to a backend took over the tuple of an old flow.
    DirectConnection,
    /// The other half of a flow was gone and has been restored.
    TwinRestored,
    /// A frame could not be resized or stored to.
    WriteFailed,
    /// A map entry that must exist does not.
    Inconsistent,
    /// A later fragment addressed to a VIP whose first one was not seen.
    FragmentUnknown,
    /// IPv6 extension headers that are not walked: too many, or of an unknown kind.
    ExtensionHeaders,
    /// The way out is in another VLAN than the packet.
    VlanMismatch,
    /// An ICMP error was rewritten and sent on to whom it concerns.
    IcmpErrorForwarded,
    /// An ICMP error to a VIP that quotes no known flow.
    IcmpErrorUnknown,
    /// A packet longer than its way allows: its sender was told.
    TooBigAnswered,
    /// A packet longer than its way allows, whose sender could not be told.
    TooBigDropped,
    /// A neighbour solicitation for a VIP was answered.
    NeighbourAnswered,
    /// The client's address is not allowed to dial the listener.
    SourceDenied,
    /// The load balancer's limit of new flows or packets was reached.
    BalancerLimited,
    /// The client's limit of new flows or packets was reached.
    SourceLimited,
    /// New flows came to a CPU faster than the node's configuration lets it enter them.
    NodeLimited,
    /// A TCP segment without a flow that does not open one, to a strict listener.
    NotOpened,
    /// A flow whose backend is dead was given another.
    Reselected,
    /// The source address can't be that of a client on this interface.
    ForeignSource,
}

/// The number of reasons.
pub const REASONS: u32 = Reason::ForeignSource as u32 + 1;

impl Reason {
    /// All of them, in order.
    pub const ALL: [Self; REASONS as usize] = [
        Self::NotOurs,
        Self::Truncated,
        Self::VlanTagged,
        Self::Ipv6,
        Self::Malformed,
        Self::Fragment,
        Self::ProtocolUnknown,
        Self::IcmpUnhandled,
        Self::ForeignMac,
        Self::ArpAnswered,
        Self::EchoAnswered,
        Self::NoListenerReset,
        Self::NoListenerUnreachable,
        Self::NoListenerDropped,
        Self::NoBackendReset,
        Self::NoBackendUnreachable,
        Self::NoBackendDropped,
        Self::BackendDead,
        Self::FlowConflict,
        Self::PortsExhausted,
        Self::TableFull,
        Self::Overflowed,
        Self::NeighbourUnknown,
        Self::NextHopUnknown,
        Self::TtlExpired,
        Self::Hairpin,
        Self::DirectConnection,
        Self::TwinRestored,
        Self::WriteFailed,
        Self::Inconsistent,
        Self::FragmentUnknown,
        Self::ExtensionHeaders,
        Self::VlanMismatch,
        Self::IcmpErrorForwarded,
        Self::IcmpErrorUnknown,
        Self::TooBigAnswered,
        Self::TooBigDropped,
        Self::NeighbourAnswered,
        Self::SourceDenied,
        Self::BalancerLimited,
        Self::SourceLimited,
        Self::NodeLimited,
        Self::NotOpened,
        Self::Reselected,
        Self::ForeignSource,
    ];

    /// The name that people see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOurs => "not_ours",
            Self::Truncated => "truncated",
            Self::VlanTagged => "vlan_tagged",
            Self::Ipv6 => "ipv6",
            Self::Malformed => "malformed",
            Self::Fragment => "fragment",
            Self::ProtocolUnknown => "protocol_unknown",
            Self::IcmpUnhandled => "icmp_unhandled",
            Self::ForeignMac => "foreign_mac",
            Self::ArpAnswered => "arp_answered",
            Self::EchoAnswered => "echo_answered",
            Self::NoListenerReset => "no_listener_reset",
            Self::NoListenerUnreachable => "no_listener_unreachable",
            Self::NoListenerDropped => "no_listener_dropped",
            Self::NoBackendReset => "no_backend_reset",
            Self::NoBackendUnreachable => "no_backend_unreachable",
            Self::NoBackendDropped => "no_backend_dropped",
            Self::BackendDead => "backend_dead",
            Self::FlowConflict => "flow_conflict",
            Self::PortsExhausted => "ports_exhausted",
            Self::TableFull => "table_full",
            Self::Overflowed => "overflowed",
            Self::NeighbourUnknown => "neighbour_unknown",
            Self::NextHopUnknown => "next_hop_unknown",
            Self::TtlExpired => "ttl_expired",
            Self::Hairpin => "hairpin",
            Self::DirectConnection => "direct_connection",
            Self::TwinRestored => "twin_restored",
            Self::WriteFailed => "write_failed",
            Self::Inconsistent => "inconsistent",
            Self::FragmentUnknown => "fragment_unknown",
            Self::ExtensionHeaders => "extension_headers",
            Self::VlanMismatch => "vlan_mismatch",
            Self::IcmpErrorForwarded => "icmp_error_forwarded",
            Self::IcmpErrorUnknown => "icmp_error_unknown",
            Self::TooBigAnswered => "too_big_answered",
            Self::TooBigDropped => "too_big_dropped",
            Self::NeighbourAnswered => "neighbour_answered",
            Self::SourceDenied => "source_denied",
            Self::BalancerLimited => "balancer_limited",
            Self::SourceLimited => "source_limited",
            Self::NodeLimited => "node_limited",
            Self::NotOpened => "not_opened",
            Self::Reselected => "reselected",
            Self::ForeignSource => "foreign_source",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_dense_and_named_once() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            assert!(Reason::ALL.iter().filter(|r| r.name() == reason.name()).count() == 1);
        }
    }
}
