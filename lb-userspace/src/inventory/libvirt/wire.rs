//! libvirt's protocol: calls and replies in XDR (RFC 4506), as `remote_protocol.x` has them. Numbers and layouts never
//! change; new ones are added.

use lb_common::net::Mac;

use crate::model::vm::parse_mac;

/// The program that all calls are of, and its version.
const PROGRAM: u32 = 0x2000_8086;
const VERSION: u32 = 1;
/// Length and header.
pub(super) const HEADER: usize = 28;
/// The longest message that either side takes.
pub(super) const MAX_MESSAGE: usize = 32 << 20;
/// As many elements of a list are taken.
const MAX_LIST: u32 = 16_384;

/// The type of a message that answers a call.
const REPLY: u32 = 1;

/// What can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Procedure {
    Open = 1,
    Xml = 14,
    Authentication = 66,
    State = 212,
    Domains = 273,
    Addresses = 353,
}

/// Who is asked for addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    /// libvirt's own DHCP servers.
    Lease = 0,
    /// The agent in the guest.
    Agent = 1,
}

/// A domain, as libvirt names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) uuid: [u8; 16],
    /// −1 while it does not run.
    pub(super) id: i32,
}

/// An interface, as the source has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) mac: Option<Mac>,
    pub(super) addresses: Vec<String>,
}

/// Why a reply is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum ReadReply {
    /// Not as the protocol has it.
    #[error("it does not speak libvirt's protocol")]
    Shape,
    /// libvirt refused.
    #[error("{0}")]
    Refused(String),
}

/// A call.
pub(super) fn call(procedure: Procedure, serial: u32, arguments: &Arguments) -> Vec<u8> {
    let length = HEADER + arguments.0.len();
    let mut bytes = Vec::with_capacity(length);
    // No call is longer than a few hundred bytes; type and status are those of a call.
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    for word in [length, PROGRAM, VERSION, procedure as u32, 0, serial, 0] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(&arguments.0);
    bytes
}

/// What a message's first four bytes say of its length; `None` if there can be no such message.
pub(super) fn length(bytes: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(bytes)).ok().filter(|length| (HEADER..=MAX_MESSAGE).contains(length))
}

/// The reply to a call, of a message without its length. `None` is another message, such as an event.
pub(super) fn reply(
    message: &[u8],
    procedure: Procedure,
    serial: u32,
) -> Result<Option<Reader<'_>>, ReadReply> {
    let mut reader = Reader(message);
    let mut header = [0; 6];
    for word in &mut header {
        *word = reader.number()?;
    }
    let [program, version, given, kind, of, status] = header;
    if (program, version, given, kind, of) != (PROGRAM, VERSION, procedure as u32, REPLY, serial) {
        return Ok(None);
    }
    if status == 0 {
        return Ok(Some(reader));
    }
    // Code and domain of the error, then its text.
    reader.number()?;
    reader.number()?;
    let text = reader.optional_text()?;
    Err(ReadReply::Refused(text.unwrap_or_else(|| "libvirt refuses, and does not say why".to_owned())))
}

/// The arguments of a call.
#[derive(Default, Debug)]
pub(super) struct Arguments(Vec<u8>);

impl Arguments {
    /// With another number.
    pub(super) fn number(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    /// With another text.
    pub(super) fn text(mut self, text: &str) -> Self {
        // Names are as short as libvirt takes them.
        self = self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend(text.as_bytes());
        self.0.extend([0; 3].iter().take(padding(text.len())));
        self
    }

    /// With a domain.
    pub(super) fn domain(mut self, domain: &Domain) -> Self {
        self = self.text(&domain.name);
        self.0.extend(domain.uuid);
        self.number(domain.id.cast_unsigned())
    }
}

const fn padding(length: usize) -> usize {
    (4 - length % 4) % 4
}

/// What is left of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], ReadReply> {
        let (first, rest) = self.0.split_first_chunk().ok_or(ReadReply::Shape)?;
        self.0 = rest;
        Ok(*first)
    }

    /// The next number.
    pub(super) fn number(&mut self) -> Result<u32, ReadReply> {
        self.bytes().map(u32::from_be_bytes)
    }

    /// The next text.
    pub(super) fn text(&mut self) -> Result<String, ReadReply> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        let (text, rest) = self.0.split_at_checked(length).ok_or(ReadReply::Shape)?;
        self.0 = rest.get(padding(length)..).ok_or(ReadReply::Shape)?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn optional_text(&mut self) -> Result<Option<String>, ReadReply> {
        if self.number()? == 0 { Ok(None) } else { self.text().map(Some) }
    }

    fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, ReadReply>,
    ) -> Result<Vec<T>, ReadReply> {
        let count = self.number()?;
        if count > MAX_LIST {
            return Err(ReadReply::Shape);
        }
        (0..count).map(|_| read(self)).collect()
    }

    /// The domains of [`Procedure::Domains`].
    pub(super) fn domains(&mut self) -> Result<Vec<Domain>, ReadReply> {
        self.list(|reader| {
            let (name, uuid) = (reader.text()?, reader.bytes()?);
            Ok(Domain { name, uuid, id: reader.number()?.cast_signed() })
        })
    }

    /// The interfaces of [`Procedure::Addresses`].
    pub(super) fn interfaces(&mut self) -> Result<Vec<Found>, ReadReply> {
        self.list(|reader| {
            let (name, mac) = (reader.text()?, reader.optional_text()?);
            let addresses = reader.list(|reader| {
                reader.number()?;
                let address = reader.text()?;
                reader.number()?;
                Ok(address)
            })?;
            Ok(Found { name, mac: mac.as_deref().and_then(parse_mac), addresses })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        Domain { name: "web-1".into(), uuid: [7; 16], id: -1 }
    }

    /// A reply as the daemon writes it, without its length.
    fn message(procedure: Procedure, serial: u32, status: u32, body: Arguments) -> Vec<u8> {
        let header = [PROGRAM, VERSION, procedure as u32, 1, serial, status];
        let mut bytes: Vec<u8> = header.into_iter().flat_map(u32::to_be_bytes).collect();
        bytes.extend(body.0);
        bytes
    }

    #[test]
    fn a_call_is_its_length_a_header_and_padded_arguments() {
        let bytes = call(Procedure::Xml, 3, &Arguments::default().domain(&domain()).number(0));
        assert_eq!(length(*bytes.first_chunk().unwrap()), Some(bytes.len()));
        assert_eq!(bytes.len(), HEADER + 4 + 8 + 16 + 4 + 4);
        assert_eq!(bytes[28..40], *b"\0\0\0\x05web-1\0\0\0");
        assert_eq!(bytes[56..60], [0xff; 4]);
        for wrong in [0_u32, 27, 40 << 20] {
            assert_eq!(length(wrong.to_be_bytes()), None);
        }
    }

    #[test]
    fn domains_and_addresses_are_read_from_replies() {
        let body = Arguments::default().number(1).domain(&domain()).number(1);
        let bytes = message(Procedure::Domains, 9, 0, body);
        let mut reader = reply(&bytes, Procedure::Domains, 9).unwrap().unwrap();
        assert_eq!(reader.domains().unwrap(), [domain()]);
        assert_eq!(reply(&bytes, Procedure::Domains, 8).unwrap(), None, "somebody else's");
        let body = Arguments::default().number(1).text("eth0").number(1).text("52:54:00:00:00:01").number(2);
        let body = body.number(0).text("192.0.2.11").number(24).number(1).text("2001:db8::11").number(64);
        let bytes = message(Procedure::Addresses, 1, 0, body);
        let found = reply(&bytes, Procedure::Addresses, 1).unwrap().unwrap().interfaces().unwrap();
        assert_eq!(found[0].mac, Some(Mac([0x52, 0x54, 0, 0, 0, 1])));
        assert_eq!(found[0].addresses, ["192.0.2.11", "2001:db8::11"]);
        for end in 0..bytes.len() {
            let cut =
                reply(&bytes[..end], Procedure::Addresses, 1).map(|reader| reader.unwrap().interfaces());
            assert!(!matches!(cut, Ok(Ok(_))), "{end}");
        }
    }

    #[test]
    fn a_refusal_is_told_in_libvirts_words() {
        let body = Arguments::default().number(38).number(10).number(1).text("no agent");
        let bytes = message(Procedure::Addresses, 1, 1, body);
        assert_eq!(reply(&bytes, Procedure::Addresses, 1), Err(ReadReply::Refused("no agent".into())));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_understood_or_refused(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            drop(Reader(&body).domains());
            drop(Reader(&body).interfaces());
            drop(reply(&body, Procedure::Xml, 1));
        }
    }
}
