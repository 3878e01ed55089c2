//! Messages there and back, hostile ones among them; and what a server in memory needs.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const HARDWARE: Mac = Mac([2, 0, 0, 0, 0, 7]);

fn identity() -> Identity {
    Identity {
        client_id: b"\0shop/front".to_vec(),
        host_name: "shop-front".to_owned(),
        hardware: HARDWARE,
        broadcast: true,
    }
}

fn request(kind: RequestKind) -> Request {
    Request { kind, xid: 0x0102_0304, seconds: 9, using: None, requested: None, server: None, reason: None }
}

/// A server's message with these options.
pub(crate) fn reply(xid: u32, address: [u8; 4], options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = encode(&Request { xid, ..request(RequestKind::Discover) }, &identity());
    bytes.truncate(at::OPTIONS);
    bytes[0] = BOOT_REPLY;
    bytes[at::YIADDR].copy_from_slice(&address);
    for (code, value) in options {
        put(&mut bytes, *code, value);
    }
    bytes.push(option::END);
    bytes
}

#[test]
fn a_discover_says_who_asks_and_for_what() {
    let bytes = encode(
        &Request { requested: Some([192, 0, 2, 9].into()), ..request(RequestKind::Discover) },
        &identity(),
    );
    assert_eq!(bytes.len(), SHORTEST.max(bytes.len()));
    assert_eq!(bytes[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 9, 0x80, 0]);
    assert_eq!(bytes[at::CHADDR], HARDWARE.0);
    let mut all = BTreeMap::new();
    read_options(&bytes[at::OPTIONS..], &mut all).unwrap();
    assert_eq!(all[&option::KIND], [1]);
    assert_eq!(all[&option::CLIENT_ID], b"\0shop/front");
    assert_eq!(all[&option::HOST_NAME], b"shop-front");
    assert_eq!(all[&option::REQUESTED], [192, 0, 2, 9]);
    assert!(!all.contains_key(&option::SERVER));
    // No address of its own, and no word for servers and relays.
    assert_eq!(bytes[12..28], [0; 16]);
}

#[test]
fn a_release_names_the_address_in_its_field_alone() {
    let (using, server) = (Some([192, 0, 2, 9].into()), Some([192, 0, 2, 1].into()));
    let bytes = encode(&Request { using, server, ..request(RequestKind::Release) }, &identity());
    assert_eq!(bytes[12..16], [192, 0, 2, 9]);
    let mut all = BTreeMap::new();
    read_options(&bytes[at::OPTIONS..], &mut all).unwrap();
    assert_eq!(all.keys().copied().collect::<Vec<_>>(), [option::KIND, option::SERVER, option::CLIENT_ID]);
}

#[test]
fn an_ack_is_read_whole() {
    let bytes = reply(
        7,
        [192, 0, 2, 9],
        &[
            (53, &[5]),
            (54, &[192, 0, 2, 1]),
            (1, &[255, 255, 255, 0]),
            (3, &[192, 0, 2, 254, 192, 0, 2, 253]),
            (51, &[0, 0, 1, 0]),
            (59, &[255; 4]),
            (61, b"\0shop/"),
            (61, b"front"),
        ],
    );
    let expected = Reply {
        kind: ReplyKind::Ack,
        xid: 7,
        hardware: HARDWARE,
        client_id: Some(b"\0shop/front".to_vec()),
        address: Some([192, 0, 2, 9].into()),
        server: Some([192, 0, 2, 1].into()),
        mask: Some([255, 255, 255, 0].into()),
        router: Some([192, 0, 2, 254].into()),
        lease: Some(Term::For(Duration::from_secs(256))),
        renew: None,
        rebind: Some(Term::Endless),
    };
    assert_eq!(decode(&bytes), Some(expected));
}

#[test]
fn options_may_overflow_into_the_fields_for_names() {
    let mut bytes = reply(7, [0; 4], &[(52, &[3])]);
    bytes[at::FILE][..4].copy_from_slice(&[53, 1, 6, 255]);
    bytes[at::SNAME][..7].copy_from_slice(&[54, 4, 192, 0, 2, 1, 255]);
    let reply = decode(&bytes).unwrap();
    assert_eq!((reply.kind, reply.server), (ReplyKind::Nak, Some([192, 0, 2, 1].into())));
    assert_eq!(reply.address, None);
}

#[test]
fn what_is_no_answer_is_none() {
    let good = reply(7, [192, 0, 2, 9], &[(53, &[5])]);
    assert!(decode(&good).is_some());
    let altered = |index: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[index] = value;
        decode(&bytes)
    };
    assert_eq!(altered(0, BOOT_REQUEST), None);
    assert_eq!(altered(2, 8), None);
    assert_eq!(altered(at::COOKIE.start, 0), None);
    // A request's type, a type of two bytes, and an option that is cut off.
    assert_eq!(altered(at::OPTIONS + 2, 1), None);
    assert_eq!(decode(&reply(7, [0; 4], &[(53, &[5, 0])])), None);
    assert_eq!(altered(at::OPTIONS + 1, 200), None);
    for length in 0..good.len() - 1 {
        assert_eq!(decode(&good[..length]).is_some(), length >= at::OPTIONS + 3, "{length}");
    }
}

proptest! {
    #[test]
    fn hostile_bytes_are_read_without_harm(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        header: bool,
    ) {
        let mut bytes = bytes;
        if header && bytes.len() > at::OPTIONS {
            bytes[..4].copy_from_slice(&[BOOT_REPLY, ETHERNET, MAC_LENGTH, 0]);
            bytes[at::COOKIE].copy_from_slice(&COOKIE);
        }
        if let Some(reply) = decode(&bytes) {
            prop_assert!(header || bytes[at::COOKIE] == COOKIE);
            prop_assert!(reply.client_id.is_none_or(|id| id.len() < bytes.len()));
        }
    }

    #[test]
    fn a_damaged_answer_is_read_without_harm(index in 0_usize..300, value: u8, cut in 0_usize..300) {
        let mut bytes = reply(
            7,
            [192, 0, 2, 9],
            &[(53, &[5]), (54, &[192, 0, 2, 1]), (51, &[0, 0, 1, 0]), (58, &[0, 0, 0, 9]), (61, b"\0shop/front")],
        );
        if let Some(byte) = bytes.get_mut(index) {
            *byte = value;
        }
        bytes.truncate(cut);
        drop(decode(&bytes));
    }
}

/// A client's message, as a server reads it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kind: u8,
    pub(crate) xid: u32,
    pub(crate) hardware: Mac,
    pub(crate) client_id: Vec<u8>,
    pub(crate) using: Option<Ipv4Addr>,
    pub(crate) requested: Option<Ipv4Addr>,
}

/// The client's message in a frame without a tag.
pub(crate) fn asked(frame: &[u8]) -> Option<Asked> {
    const HEADERS: usize = 14 + 20 + 8;
    let bytes = frame.get(HEADERS..)?;
    let all = options(bytes)?;
    Some(Asked {
        kind: *all.get(&option::KIND)?.first()?,
        xid: u32::from_be_bytes(bytes.get(at::XID)?.try_into().ok()?),
        hardware: Mac(bytes.get(at::CHADDR)?.try_into().ok()?),
        client_id: all.get(&option::CLIENT_ID)?.clone(),
        using: bytes.get(12..16).and_then(address),
        requested: all.get(&option::REQUESTED).and_then(|value| address(value)),
    })
}

/// The frame that answers it.
pub(crate) fn answer(
    asked: &Asked,
    from: Mac,
    kind: u8,
    address: Ipv4Addr,
    server: Ipv4Addr,
    lease: [u8; 4],
) -> Vec<u8> {
    let options: [(u8, &[u8]); 4] =
        [(53, &[kind]), (54, &server.octets()), (51, &lease), (61, &asked.client_id)];
    let mut message = reply(asked.xid, address.octets(), &options);
    message[at::CHADDR].copy_from_slice(&asked.hardware.0);
    let builder = etherparse::PacketBuilder::ethernet2(from.0, asked.hardware.0)
        .ipv4(server.octets(), address.octets(), 64)
        .udp(67, 68);
    let mut frame = Vec::new();
    builder.write(&mut frame, &message).unwrap();
    frame
}
