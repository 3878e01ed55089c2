//! Where a program runs, and what it may say.

use std::fmt;

use lb_common::map::{self, program};

/// A hook, and with it a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// XDP.
    Xdp,
    /// tc, incoming.
    TcIngress,
    /// tc, outgoing.
    TcEgress,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// To whom it would have gone without us.
    Pass,
    /// Nowhere.
    Drop,
    /// Out of the interface through which it came. In tc that is a redirect like any other.
    Back,
    /// Out of another interface.
    Redirect,
}

impl Hook {
    /// Those at which packets come in.
    pub const INGRESS: [Self; 2] = [Self::Xdp, Self::TcIngress];
    /// All.
    pub const ALL: [Self; 3] = [Self::Xdp, Self::TcIngress, Self::TcEgress];

    /// The name of its program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Xdp => program::XDP,
            Self::TcIngress => program::TC_INGRESS,
            Self::TcEgress => program::TC_EGRESS,
        }
    }

    /// The name of the array of its stages.
    pub const fn stages(self) -> &'static str {
        match self {
            Self::Xdp => map::XDP_STAGES,
            Self::TcIngress => map::TC_INGRESS_STAGES,
            Self::TcEgress => map::TC_EGRESS_STAGES,
        }
    }

    /// Whether the kernel makes a test run of this frame: it has a whole Ethernet header and, in tc, also a
    /// whole fixed IP header where its EtherType promises one.
    pub fn runs(self, frame: &[u8]) -> bool {
        let shortest = match (self, frame.get(12..14)) {
            (Self::Xdp, _) => 14,
            (Self::TcIngress | Self::TcEgress, Some([0x08, 0x00])) => 14 + 20,
            (Self::TcIngress | Self::TcEgress, Some([0x86, 0xdd])) => 14 + 40,
            (Self::TcIngress | Self::TcEgress, _) => 14 + 1,
        };
        frame.len() >= shortest
    }

    /// The return value that says this: `XDP_*` or `TC_ACT_*` of the kernel's `bpf.h` and `pkt_cls.h`.
    pub const fn code(self, verdict: Verdict) -> i32 {
        match (self, verdict) {
            (Self::Xdp, Verdict::Drop) => 1,
            (Self::Xdp, Verdict::Pass) => 2,
            (Self::Xdp, Verdict::Back) => 3,
            (Self::Xdp, Verdict::Redirect) => 4,
            (Self::TcIngress | Self::TcEgress, Verdict::Pass) => -1,
            (Self::TcIngress | Self::TcEgress, Verdict::Drop) => 2,
            (Self::TcIngress | Self::TcEgress, Verdict::Back | Verdict::Redirect) => 7,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.program())
    }
}
