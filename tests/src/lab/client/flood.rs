//! A flood of SYNs, each from a source that nobody has seen before.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use lb_common::net::{Ipv4, Mac};

use crate::lab::namespace::Namespace;
use crate::packet::{Frame as _, flags, packet};

/// What was sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Flood {
    /// SYNs, each of another source.
    pub sent: u64,
    /// How long it took.
    pub took: Duration,
}

impl Flood {
    /// SYNs per second.
    pub fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let sent = self.sent as f64;
        sent / self.took.as_secs_f64()
    }
}

/// Frames that are sent in one system call.
const BATCH: usize = 128;

/// Where the sources are (RFC 2544).
pub const SOURCES: &str = "198.18.0.0/15";
/// As many addresses as these are, and all ports from 1024 on.
const ADDRESSES: u64 = 1 << 17;
const PORTS: u64 = 65_536 - 1024;
/// Prime to the number of sources, so that each comes once before any comes again.
const STRIDE: u64 = 6_700_417;

/// A flood to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Who answers for the listener. The SYNs leave through the client's `eth0`.
    pub neighbour: Mac,
    /// Whom they are for.
    pub listener: SocketAddrV4,
    /// SYNs per second of all senders together, unless the machine can't.
    pub rate: u64,
    /// For how long.
    pub duration: Duration,
    /// Threads that send.
    pub senders: u64,
}

impl Plan {
    /// Sends the SYNs.
    ///
    /// # Errors
    /// When they can't be sent.
    pub fn run(&self, client: &Namespace) -> Result<Flood> {
        let began = Instant::now();
        let sent = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..self.senders)
                .map(|number| scope.spawn(move || client.enter(|| self.send_share(number))))
                .collect();
            let shares = senders.into_iter().map(|sender| match sender.join() {
                Ok(share) => share?.context("flood"),
                Err(_) => Err(anyhow!("a sender panicked")),
            });
            shares.sum::<Result<u64>>()
        })?;
        Ok(Flood { sent, took: began.elapsed() })
    }

    /// Sends what is left of the SYNs when only every so many are sent, as many as there are senders.
    fn send_share(&self, number: u64) -> io::Result<u64> {
        let socket = packet_socket("eth0")?;
        let template = Template::new(self.neighbour, self.listener);
        let mut frames = vec![template.frame.clone(); BATCH];
        let began = Instant::now();
        let mut sent = 0_u64;
        while began.elapsed() < self.duration {
            let due = began.elapsed().as_micros() * u128::from(self.rate / self.senders) / 1_000_000;
            if u128::from(sent) > due {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            for (source, frame) in (sent..).zip(&mut frames) {
                template.fill(frame, source * self.senders + number);
            }
            sent += send(&socket, &mut frames)?;
        }
        Ok(sent)
    }
}

/// A SYN without its source.
struct Template {
    frame: Vec<u8>,
    /// One's complement sums without the source.
    ip_sum: u32,
    tcp_sum: u32,
}

impl Template {
    fn new(neighbour: Mac, listener: SocketAddrV4) -> Self {
        let to = (Ipv4(listener.ip().octets()), listener.port());
        let nobody = (Ipv4([0; 4]), 0);
        let packet = packet().ethernet(Mac([2, 0, 0, 0, 0xff, 1]), neighbour).from(nobody).to(to);
        let mut frame = packet.tcp(flags::SYN).bytes();
        // The checksum fields hold the complement of what is left of the sums.
        let sum = |field: &[u8]| u32::from(!u16::from_be_bytes([field[0], field[1]]));
        let (ip_sum, tcp_sum) = (sum(&frame[24..26]), sum(&frame[50..52]));
        frame.truncate(frame.len().max(54));
        Self { frame, ip_sum, tcp_sum }
    }

    fn fill(&self, frame: &mut [u8], source: u64) {
        let source = source.wrapping_mul(STRIDE) % (ADDRESSES * PORTS);
        let (address, port) = (source / PORTS, 1024 + source % PORTS);
        let [.., a, b, c, d] = (0xc612_0000 + address).to_be_bytes();
        let [.., high, low] = port.to_be_bytes();
        frame[26..30].copy_from_slice(&[a, b, c, d]);
        frame[34..36].copy_from_slice(&[high, low]);
        let word = |high: u8, low: u8| u32::from(high) << 8 | u32::from(low);
        let sum = word(a, b) + word(c, d);
        frame[24..26].copy_from_slice(&folded(self.ip_sum + sum));
        frame[50..52].copy_from_slice(&folded(self.tcp_sum + sum + word(high, low)));
    }
}

fn folded(sum: u32) -> [u8; 2] {
    let sum = (sum & 0xffff) + (sum >> 16);
    let [.., high, low] = (!((sum & 0xffff) + (sum >> 16))).to_be_bytes();
    [high, low]
}

fn packet_socket(interface: &str) -> io::Result<OwnedFd> {
    let name = std::ffi::CString::new(interface)?;
    // SAFETY: the name is a C string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    // SAFETY: plain numbers.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if index == 0 || socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all zero is a value of this plain structure.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_ifindex = index as i32;
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address is as long as is said, and outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    let bypass: libc::c_int = 1;
    let length = size_of_val(&bypass) as libc::socklen_t;
    // SAFETY: the value is as long as is said, and outlives the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_QDISC_BYPASS,
            (&raw const bypass).cast(),
            length,
        )
    };
    if bound < 0 || set < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// Gives how many were sent: those for which the device had no room are left out.
fn send(socket: &OwnedFd, frames: &mut [Vec<u8>]) -> io::Result<u64> {
    let mut pieces: Vec<_> = frames
        .iter_mut()
        .map(|frame| libc::iovec { iov_base: frame.as_mut_ptr().cast(), iov_len: frame.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = pieces
        .iter_mut()
        .map(|piece| {
            // SAFETY: all zero is a value of this plain structure.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = piece;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let count = messages.len() as u32;
    // SAFETY: the messages, their pieces and the frames outlive the call.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, 0) };
    if sent >= 0 {
        return Ok(sent as u64);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOBUFS | libc::EAGAIN) => Ok(0),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    #[test]
    fn every_frame_of_a_flood_is_a_sound_syn_of_its_own_source() {
        let listener: SocketAddrV4 = "203.0.113.80:80".parse().expect("an address");
        let template = Template::new(Mac([2, 0, 0, 0, 0, 1]), listener);
        let mut sources = std::collections::BTreeSet::new();
        for source in 0..5000 {
            let mut frame = template.frame.clone();
            template.fill(&mut frame, source);
            let from = (
                Ipv4([frame[26], frame[27], frame[28], frame[29]]),
                u16::from_be_bytes([frame[34], frame[35]]),
            );
            let expected: Packet = packet()
                .ethernet(Mac([2, 0, 0, 0, 0xff, 1]), Mac([2, 0, 0, 0, 0, 1]))
                .from(from)
                .to((Ipv4([203, 0, 113, 80]), 80))
                .tcp(flags::SYN);
            assert_eq!(frame, expected.bytes());
            sources.insert(from);
        }
        assert_eq!(sources.len(), 5000);
    }
}
