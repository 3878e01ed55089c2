//! The rewrite of a packet that begins with [`Plain`]: all of it is in one place, and is looked up once.

use lb_common::csum::Delta;
use lb_common::flow::FlowKey;
use lb_common::net::{Be16, Ipv4, Protocol, Station};

use super::sum::Sum;
use super::{Hops, Rewrite};
use crate::headers::Plain;

/// What changes.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Source and destination as they go, as [`Plain::addresses`] gives them.
    pub addresses: u64,
    /// Both ports as they go, as [`Plain::ports`] gives them.
    pub ports: u32,
    /// What the TTL loses.
    pub hop: u8,
    /// Which of the Ethernet addresses are set.
    pub frame: Frame,
}

/// The Ethernet addresses of a frame: how many of them are set, and to what.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// None, the destination, or both.
    pub set: u32,
    /// To whom.
    pub to: Station,
    /// From whom.
    pub from: Station,
}

impl Change {
    /// Makes it.
    #[inline(always)]
    pub fn apply(&self, plain: &mut Plain) {
        let addresses = Delta::new().replace64(plain.addresses(), self.addresses);
        // What the TTL loses, the word that begins with it loses, too.
        let header = addresses.replace16(u16::from_ne_bytes([self.hop, 0]), 0);
        let segment = addresses.replace32(plain.ports(), self.ports);
        plain.check = header.apply(u16::from_ne_bytes(plain.check)).to_ne_bytes();
        plain.hops = plain.hops.wrapping_sub(self.hop);
        if plain.protocol == Protocol::Tcp.number() {
            plain.tcp_check = segment.apply(u16::from_ne_bytes(plain.tcp_check)).to_ne_bytes();
        } else {
            plain.udp_check = segment.apply_udp(u16::from_ne_bytes(plain.udp_check)).to_ne_bytes();
        }
        plain.addresses = self.addresses.to_ne_bytes();
        plain.ports = self.ports.to_ne_bytes();
        self.frame.apply(plain);
    }

    /// The same for those who rewrite field by field.
    #[inline(always)]
    pub fn spelled_out(&self, plain: &Plain) -> Rewrite<Ipv4> {
        let protocol = if plain.protocol == Protocol::Tcp.number() { Protocol::Tcp } else { Protocol::Udp };
        let key = |addresses: u64, ports: u32| FlowKey {
            source: Ipv4((addresses as u32).to_ne_bytes()),
            destination: Ipv4(((addresses >> 32) as u32).to_ne_bytes()),
            source_port: Be16::from_raw(ports as u16),
            destination_port: Be16::from_raw((ports >> 16) as u16),
            protocol,
        };
        Rewrite {
            from: key(plain.addresses(), plain.ports()),
            to: key(self.addresses, self.ports),
            transport: Plain::TRANSPORT,
            length: plain.total.get() - Plain::IP,
            hops: Hops { before: plain.hops, after: plain.hops.wrapping_sub(self.hop) },
            sum: Sum::Full,
        }
    }
}

impl Frame {
    /// Neither.
    pub const KEPT: Self = Self { set: 0, to: Station(0), from: Station(0) };

    /// To somebody.
    #[inline(always)]
    pub const fn to(to: Station) -> Self {
        Self { set: 1, to, from: Station(0) }
    }

    /// From somebody to somebody.
    #[inline(always)]
    pub const fn between(from: Station, to: Station) -> Self {
        Self { set: 2, to, from }
    }

    #[inline(always)]
    fn apply(&self, plain: &mut Plain) {
        match self.set {
            0 => {}
            1 => plain.send_to(self.to),
            _ => plain.send(self.from, self.to),
        }
    }
}
