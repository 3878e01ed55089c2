//! Names, default sizes and the version of the maps.

/// Changes whenever the layout of a map, or what its bytes mean, changes. Part of the pin path.
pub const ABI_VERSION: u32 = 4;

/// Hash: IPv4 address → [`VipValue`](crate::vip::VipValue). Written by the agent.
pub const VIPS_V4: &str = "VIPS_V4";
/// Hash: [`ListenerKey`](crate::listener::ListenerKey) → [`ListenerValue`](crate::listener::ListenerValue).
/// Written by the agent.
pub const LISTENERS_V4: &str = "LISTENERS_V4";
/// LPM trie: [`ListenerRangeKey`](crate::listener::ListenerRangeKey) →
/// [`ListenerValue`](crate::listener::ListenerValue). Written by the agent.
pub const LISTENER_RANGES_V4: &str = "LISTENER_RANGES_V4";
/// LPM trie: [`SourceKey`](crate::policy::SourceKey) → [`ALLOWED`](crate::policy::ALLOWED) or
/// [`DENIED`](crate::policy::DENIED). Written by the agent.
pub const SOURCES_V4: &str = "SOURCES_V4";
/// Array: index of a load balancer → [`LimitsValue`](crate::policy::LimitsValue). Written by the agent.
pub const LIMITS: &str = "LIMITS";
/// Array: index of a load balancer → [`Spent`](crate::policy::Spent). Written by the datapath.
pub const SPENT: &str = "SPENT";
/// LRU hash: [`SourceKey`](crate::policy::SourceKey) → [`Spent`](crate::policy::Spent). Written by the
/// datapath.
pub const SOURCES_SPENT_V4: &str = "SOURCES_SPENT_V4";
/// Mmapable array of [`Bucket`](crate::flow::Bucket). Written by the datapath, read by the agent.
pub const FLOWS_V4: &str = "FLOWS_V4";
/// LRU hash: [`OverflowKey`](crate::flow::OverflowKey) → [`FlowEntry`](crate::flow::FlowEntry).
pub const OVERFLOW_V4: &str = "OVERFLOW_V4";
/// Hash: IPv6 address → [`VipValue`](crate::vip::VipValue). Written by the agent.
pub const VIPS_V6: &str = "VIPS_V6";
/// As [`LISTENERS_V4`].
pub const LISTENERS_V6: &str = "LISTENERS_V6";
/// As [`FLOWS_V4`].
pub const FLOWS_V6: &str = "FLOWS_V6";
/// As [`OVERFLOW_V4`].
pub const OVERFLOW_V6: &str = "OVERFLOW_V6";
/// As [`LISTENER_RANGES_V4`].
pub const LISTENER_RANGES_V6: &str = "LISTENER_RANGES_V6";
/// As [`SOURCES_V4`].
pub const SOURCES_V6: &str = "SOURCES_V6";
/// As [`SOURCES_SPENT_V4`].
pub const SOURCES_SPENT_V6: &str = "SOURCES_SPENT_V6";
/// LRU hash: [`FragmentKey`](crate::fragment::FragmentKey) → [`FragmentPorts`](crate::fragment::FragmentPorts).
pub const FRAGMENTS_V4: &str = "FRAGMENTS_V4";
/// As [`FRAGMENTS_V4`].
pub const FRAGMENTS_V6: &str = "FRAGMENTS_V6";
/// Program array: [`Stage`](crate::stage::Stage) → program of the XDP hook. Written by the agent.
pub const XDP_STAGES: &str = "XDP_STAGES";
/// As [`XDP_STAGES`], for tc at ingress.
pub const TC_INGRESS_STAGES: &str = "TC_INGRESS_STAGES";
/// As [`XDP_STAGES`], for tc at egress.
pub const TC_EGRESS_STAGES: &str = "TC_EGRESS_STAGES";
/// Array of maps: listener index → array of [`SlotPair`](crate::maglev::SlotPair). Written by the agent.
pub const MAGLEV: &str = "MAGLEV";
/// Mmapable array: id → [`BackendValue`](crate::backend::BackendValue). Written by the agent.
pub const BACKENDS: &str = "BACKENDS";
/// LRU hash: [`AffinityKey`](crate::affinity::AffinityKey) → [`AffinityValue`](crate::affinity::AffinityValue).
/// Written by the datapath.
pub const AFFINITY_V4: &str = "AFFINITY_V4";
/// As [`AFFINITY_V4`].
pub const AFFINITY_V6: &str = "AFFINITY_V6";
/// Array: backend id → u64, its live flows. The datapath counts new ones, the agent puts it right.
pub const BACKEND_LOAD: &str = "BACKEND_LOAD";
/// Array: index → [`NextHop`](crate::next_hop::NextHop). Written by the datapath.
pub const NEXT_HOPS: &str = "NEXT_HOPS";
/// Array: interface index → [`PortValue`](crate::port::PortValue). Written by the agent.
pub const PORTS: &str = "PORTS";
/// Mmapable array of one [`Settings`](crate::known::Settings). Written by the agent.
pub const CONFIG: &str = "CONFIG";
/// Per-CPU array: listener index → [`Stats`](crate::stats::Stats) of what no backend took.
pub const LISTENER_STATS: &str = "LISTENER_STATS";
/// Array: listener index → [`Stats`](crate::stats::Stats) of what its backends took that are gone. Written by the agent.
pub const LISTENER_PASTS: &str = "LISTENER_PASTS";
/// Per-CPU array: backend id → [`Stats`](crate::stats::Stats).
pub const BACKEND_STATS: &str = "BACKEND_STATS";
/// Per-CPU array: [`Reason`](crate::reason::Reason) → u64.
pub const REASONS: &str = "REASONS";
/// LRU hash: [`SocketKey`](crate::socket::SocketKey) → [`SocketValue`](crate::socket::SocketValue). Written by the
/// datapath.
pub const SOCKETS: &str = "SOCKETS";
/// Ring buffer of [`Event`](crate::event::Event). Written by the datapath while the agent listens.
pub const EVENTS: &str = "EVENTS";
/// Per-CPU array: [`LOST_FLOWS`](crate::event::LOST_FLOWS) or [`LOST_DROPS`](crate::event::LOST_DROPS) → u64.
pub const EVENTS_LOST: &str = "EVENTS_LOST";
/// Hash: [`OverflowKey`](crate::flow::OverflowKey) → [`FlowStats`](crate::event::FlowStats). Written by the datapath;
/// the agent takes away what is left of flows that are over.
pub const FLOW_STATS_V4: &str = "FLOW_STATS_V4";
/// As [`FLOW_STATS_V4`].
pub const FLOW_STATS_V6: &str = "FLOW_STATS_V6";

/// The maps that are pinned, all of them.
pub const ALL: [&str; 38] = [
    VIPS_V4,
    LISTENERS_V4,
    LISTENER_RANGES_V4,
    SOURCES_V4,
    LIMITS,
    SPENT,
    SOURCES_SPENT_V4,
    FLOWS_V4,
    OVERFLOW_V4,
    VIPS_V6,
    LISTENERS_V6,
    FLOWS_V6,
    OVERFLOW_V6,
    LISTENER_RANGES_V6,
    SOURCES_V6,
    SOURCES_SPENT_V6,
    FRAGMENTS_V4,
    FRAGMENTS_V6,
    XDP_STAGES,
    TC_INGRESS_STAGES,
    TC_EGRESS_STAGES,
    MAGLEV,
    BACKENDS,
    AFFINITY_V4,
    AFFINITY_V6,
    BACKEND_LOAD,
    NEXT_HOPS,
    PORTS,
    CONFIG,
    LISTENER_STATS,
    LISTENER_PASTS,
    BACKEND_STATS,
    REASONS,
    SOCKETS,
    EVENTS,
    EVENTS_LOST,
    FLOW_STATS_V4,
    FLOW_STATS_V6,
];

/// VIPs.
pub const MAX_VIPS: u32 = 4096;
/// Listeners; each may have a Maglev table.
pub const MAX_LISTENERS: u32 = 4096;
/// Load balancers: each has one VIP. An index fits 16 bits.
pub const MAX_BALANCERS: u32 = MAX_VIPS;
/// Prefixes into which ranges of ports are cut: a range needs 30 at most.
pub const MAX_LISTENER_RANGES: u32 = 16_384;
/// Source ranges of all load balancers.
pub const MAX_SOURCES: u32 = 65_536;
/// Clients whose limits are remembered.
pub const MAX_SOURCES_SPENT: u32 = 65_536;
/// Backends of all listeners, dead ones that wait for reuse included.
pub const MAX_BACKENDS: u32 = 16_384;
/// Buckets of each flow table: 256k entries; 8 MiB for IPv4, 18 MiB for IPv6.
pub const FLOW_BUCKETS: u32 = 65_536;
/// Flows in each overflow map.
pub const MAX_OVERFLOW: u32 = 16_384;
/// Flows of each family that are counted. Memory is taken only for those that there are.
pub const MAX_FLOW_STATS: u32 = 1 << 20;
/// Clients whose backends each affinity map remembers.
pub const MAX_CLIENTS: u32 = 65_536;
/// Fragmented packets of each family, the rest of which is still to come.
pub const MAX_FRAGMENTS: u32 = 8192;
/// Next hops.
pub const MAX_NEXT_HOPS: u32 = 65_536;
/// Interface indices that can be served.
pub const MAX_PORTS: u32 = 65_536;
/// Slots of a Maglev table unless configured.
pub const MAGLEV_SLOTS: u32 = 16_381;

/// Sockets of the node's processes that dialled a VIP; of more, the longest unused are forgotten.
pub const MAX_SOCKETS: u32 = 65_536;

/// Programs, by name.
pub mod program {
    use crate::stage::Stage;

    /// A program array, an index in it, and the program that belongs there.
    pub type Entry = (&'static str, Stage, &'static str);

    macro_rules! stages {
        ($($array:ident: $($stage:ident = $program:literal),+;)+) => {
            /// All stages of all hooks.
            pub const STAGES: &[Entry] = &[$($((super::$array, Stage::$stage, $program)),+),+];
        };
    }

    stages! {
        XDP_STAGES:
            Arrive = "lb_xdp", Tagged = "lb_xdp_tagged",
            StartV4 = "lb_xdp_start_v4", OpenV4 = "lb_xdp_open_v4", RefuseV4 = "lb_xdp_refuse_v4",
            ControlV4 = "lb_xdp_control_v4", FragmentV4 = "lb_xdp_fragment_v4",
            FollowV6 = "lb_xdp_follow_v6", OpenV6 = "lb_xdp_open_v6", RefuseV6 = "lb_xdp_refuse_v6",
            ControlV6 = "lb_xdp_control_v6", FragmentV6 = "lb_xdp_fragment_v6";
        TC_INGRESS_STAGES:
            Arrive = "lb_tc_ingress", Tagged = "lb_tc_tagged",
            StartV4 = "lb_tc_start_v4", OpenV4 = "lb_tc_open_v4", RefuseV4 = "lb_tc_refuse_v4",
            ControlV4 = "lb_tc_control_v4", FragmentV4 = "lb_tc_fragment_v4",
            FollowV6 = "lb_tc_follow_v6", OpenV6 = "lb_tc_open_v6", RefuseV6 = "lb_tc_refuse_v6",
            ControlV6 = "lb_tc_control_v6", FragmentV6 = "lb_tc_fragment_v6";
        TC_EGRESS_STAGES:
            Arrive = "lb_tc_egress", Tagged = "lb_out_tagged",
            ControlV4 = "lb_out_control_v4", FragmentV4 = "lb_out_fragment_v4",
            FollowV6 = "lb_out_follow_v6",
            ControlV6 = "lb_out_control_v6", FragmentV6 = "lb_out_fragment_v6";
    }

    /// XDP at the ingress of uplinks.
    pub const XDP: &str = "lb_xdp";
    /// tcx or clsact ingress.
    pub const TC_INGRESS: &str = "lb_tc_ingress";
    /// tcx or clsact egress.
    pub const TC_EGRESS: &str = "lb_tc_egress";
    /// What a process of the node meets when it uses a socket, in IPv4 and IPv6: it dials, or sends without having
    /// dialled; it asks who sent, or whom it dialled. Attached to a cgroup.
    pub const SOCKETS: [&str; 8] = [
        "lb_connect4",
        "lb_connect6",
        "lb_sendmsg4",
        "lb_sendmsg6",
        "lb_recvmsg4",
        "lb_recvmsg6",
        "lb_getpeername4",
        "lb_getpeername6",
    ];
    /// The cookie of the network namespace whose processes are served; 0 for none. Set when the programs are loaded.
    pub const NODE_NETWORK: &str = "LB_NODE_NETWORK";
    /// XDP that passes everything: native `XDP_TX` into a veth needs a program on its peer.
    pub const PASS: &str = "lb_pass";
}
