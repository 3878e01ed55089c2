//! The two messages of the health service in Protocol Buffers, framed as gRPC does: a byte that says whether the
//! message is compressed, its length in four, the message.

/// The service serves.
pub(super) const SERVING: u64 = 1;
/// Field 1 as a text.
const NAME: u8 = 1 << 3 | 2;
/// Field 1 as a number.
const STATUS: u8 = 1 << 3;
const FRAME: usize = 5;

/// `HealthCheckRequest { service }`.
pub(super) fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(NAME);
        put_number(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.append(&mut message);
    frame
}

/// The status of a `HealthCheckResponse`; `None` if it is none, or is followed by anything.
pub(super) fn answer(frame: &[u8]) -> Option<u64> {
    let (head, message) = frame.split_at_checked(FRAME)?;
    let &[0, a, b, c, d] = head else { return None };
    if u32::from_be_bytes([a, b, c, d]) as usize != message.len() {
        return None;
    }
    // A number that is 0 is left out.
    let Some((&key, number)) = message.split_first() else { return Some(0) };
    let (number, rest) = take_number(number)?;
    (key == STATUS && rest.is_empty()).then_some(number)
}

/// What a status is called.
pub(super) const fn name(status: u64) -> &'static str {
    match status {
        0 => "UNKNOWN",
        SERVING => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "a status that has no name",
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            bytes.push(low & 0x7f);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    /// Ten bytes hold 64 bits.
    const MAX: usize = 10;
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().enumerate().take(MAX) {
        number |= u64::from(byte & 0x7f).checked_shl(u32::try_from(index * 7).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("shop"), [0, 0, 0, 0, 6, 0x0a, 4, b's', b'h', b'o', b'p']);
        let long = question(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 2]);
        assert_eq!(answer(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
        assert_eq!(answer(&[0, 0, 0, 0, 2, 8, 2]).map(name), Some("NOT_SERVING"));
        assert_eq!(answer(&[0, 0, 0, 0, 0]), Some(0));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for bytes in [
            &[][..],
            &[0, 0, 0, 0],
            &[1, 0, 0, 0, 0],
            &[0, 0, 0, 0, 2, 8],
            &[0, 0, 0, 0, 2, 0x0a, 1],
            &[0, 0, 0, 0, 1, 8],
        ] {
            assert_eq!(answer(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn numbers_are_read_as_they_are_written(number: u64, rest: Vec<u8>) {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(take_number(&bytes), Some((number, &rest[..])));
        }

        #[test]
        fn any_bytes_are_understood_or_refused(bytes: Vec<u8>) {
            let _ = answer(&bytes);
        }
    }
}
