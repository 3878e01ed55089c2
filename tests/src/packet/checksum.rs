//! The Internet checksum (RFC 1071), written down once more: byte pairs, big end first.

/// The one's complement sum of the parts, as if they stood one after the other. All parts but the last have
/// an even number of bytes; an odd last byte is padded with zero.
pub fn ones_complement(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(pair[0]) << 8 | u32::from(low);
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    u16::try_from(sum).expect("a sum that was folded after each step")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_holds() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(ones_complement(&[&bytes]), 0xddf2);
        assert_eq!(ones_complement(&[&bytes[..2], &bytes[2..]]), 0xddf2);
    }
}
