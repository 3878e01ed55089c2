//! Packets as pcapng: two for each, as it came and as it was left.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness};

use crate::control::observe::CapturedPacket;

/// Bytes of a frame that are kept.
const SNAP: u32 = 256;
/// The exponent of 10 by which times are counted: nanoseconds.
const NANOSECONDS: u8 = 9;

/// A file that grows by packets.
pub(super) struct Recording<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: Vec<String>,
}

impl<W: Write> Recording<W> {
    /// With its first block.
    pub(super) fn begin(writer: W) -> anyhow::Result<Self> {
        let writer = PcapNgWriter::with_endianness(writer, Endianness::Little);
        Ok(Self { writer: writer.context("cannot write the capture")?, interfaces: Vec::new() })
    }

    /// One more packet.
    pub(super) fn add(&mut self, packet: &CapturedPacket) -> anyhow::Result<()> {
        let interface = self.interface(&packet.interface)?;
        let CapturedPacket { hook, verdict, reason, .. } = packet;
        let reason = if reason.is_empty() { String::new() } else { format!(", {reason}") };
        let sides = [
            (&packet.before, packet.before_length, format!("before: {hook}")),
            (&packet.after, packet.after_length, format!("after: {verdict}{reason}")),
        ];
        for (digits, length, comment) in sides {
            let block = EnhancedPacketBlock {
                interface_id: interface,
                timestamp: Duration::from_nanos(packet.time),
                original_len: length,
                data: Cow::Owned(bytes(digits)),
                options: vec![EnhancedPacketOption::Comment(Cow::Owned(comment))],
            };
            self.writer.write_pcapng_block(block).context("cannot write the capture")?;
        }
        self.writer.get_mut().flush().context("cannot write the capture")
    }

    /// The number of an interface, which is described when it is first met.
    fn interface(&mut self, name: &str) -> anyhow::Result<u32> {
        let known = self.interfaces.iter().position(|known| known == name);
        let index = known.unwrap_or(self.interfaces.len());
        if known.is_none() {
            self.interfaces.push(name.to_owned());
            let block = InterfaceDescriptionBlock {
                linktype: DataLink::ETHERNET,
                snaplen: SNAP,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ],
            };
            self.writer.write_pcapng_block(block).context("cannot write the capture")?;
        }
        u32::try_from(index).context("too many interfaces")
    }
}

/// Of hexadecimal digits; what is none ends them.
fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2);
    pairs.map_while(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;

    #[test]
    fn a_packet_becomes_two_with_comments_and_nanoseconds() {
        let mut file = Vec::new();
        let mut recording = Recording::begin(&mut file).unwrap();
        let packet = CapturedPacket {
            time: 1_700_000_000_123_456_789,
            interface: "up0".into(),
            hook: "xdp".into(),
            verdict: "drop".into(),
            reason: "malformed".into(),
            before_length: 1500,
            before: "0a0b".into(),
            after_length: 2,
            after: "0c0d".into(),
            ..CapturedPacket::default()
        };
        recording.add(&packet).unwrap();
        recording.add(&CapturedPacket { interface: "vm1".into(), ..packet.clone() }).unwrap();
        let mut reader = PcapNgReader::new(file.as_slice()).unwrap();
        let mut seen = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(block) = block.unwrap() {
                let EnhancedPacketOption::Comment(comment) = &block.options[0] else { panic!("no comment") };
                assert_eq!(block.timestamp, Duration::from_nanos(packet.time));
                seen.push((block.interface_id, block.original_len, block.data.to_vec(), comment.to_string()));
            }
        }
        let before = (0, 1500, vec![0x0a, 0x0b], "before: xdp".to_owned());
        let after = (0, 2, vec![0x0c, 0x0d], "after: drop, malformed".to_owned());
        assert_eq!(seen[..2], [before, after]);
        assert_eq!(seen[2].0, 1);
    }
}
