//! Messages as bytes (RFC 2131 section 2, RFC 2132, RFC 3396).
//!
//! What comes from the network is anybody's: reading it never fails but by `None`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use lb_common::net::Mac;

use super::message::{Identity, Reply, ReplyKind, Request, RequestKind, Term};

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const MAC_LENGTH: u8 = 6;
const BROADCAST: u16 = 0x8000;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Relays may drop what is shorter (RFC 1542 section 2.1).
const SHORTEST: usize = 300;
/// The longest message that is taken; an Ethernet frame carries it.
const LONGEST: u16 = 1472;

/// Where the fields are.
mod at {
    use std::ops::Range;

    pub(super) const XID: Range<usize> = 4..8;
    pub(super) const YIADDR: Range<usize> = 16..20;
    pub(super) const CHADDR: Range<usize> = 28..34;
    pub(super) const SNAME: Range<usize> = 44..108;
    pub(super) const FILE: Range<usize> = 108..236;
    pub(super) const COOKIE: Range<usize> = 236..240;
    pub(super) const OPTIONS: usize = 240;
}

mod option {
    pub(super) const PAD: u8 = 0;
    pub(super) const MASK: u8 = 1;
    pub(super) const ROUTER: u8 = 3;
    pub(super) const HOST_NAME: u8 = 12;
    pub(super) const REQUESTED: u8 = 50;
    pub(super) const LEASE: u8 = 51;
    pub(super) const OVERLOAD: u8 = 52;
    pub(super) const KIND: u8 = 53;
    pub(super) const SERVER: u8 = 54;
    pub(super) const PARAMETERS: u8 = 55;
    pub(super) const MESSAGE: u8 = 56;
    pub(super) const LONGEST: u8 = 57;
    pub(super) const RENEW: u8 = 58;
    pub(super) const REBIND: u8 = 59;
    pub(super) const CLIENT_ID: u8 = 61;
    pub(super) const END: u8 = 255;
}

const fn number(kind: RequestKind) -> u8 {
    match kind {
        RequestKind::Discover => 1,
        RequestKind::Request => 3,
        RequestKind::Decline => 4,
        RequestKind::Release => 7,
    }
}

/// A client's message, from the first byte after the UDP header on.
pub fn encode(request: &Request, identity: &Identity) -> Vec<u8> {
    let flags = if identity.broadcast { BROADCAST } else { 0 };
    let mut bytes = vec![BOOT_REQUEST, ETHERNET, MAC_LENGTH, 0];
    bytes.extend(request.xid.to_be_bytes());
    bytes.extend(request.seconds.to_be_bytes());
    bytes.extend(flags.to_be_bytes());
    bytes.extend(request.using.unwrap_or(Ipv4Addr::UNSPECIFIED).octets());
    // yiaddr, siaddr and giaddr are the servers' and relays'.
    bytes.extend([0; 12]);
    bytes.extend(identity.hardware.0);
    // The rest of chaddr, sname and file.
    bytes.resize(at::COOKIE.start, 0);
    bytes.extend(COOKIE);
    put(&mut bytes, option::KIND, &[number(request.kind)]);
    put(&mut bytes, option::CLIENT_ID, &identity.client_id);
    if let Some(address) = request.requested {
        put(&mut bytes, option::REQUESTED, &address.octets());
    }
    if let Some(server) = request.server {
        put(&mut bytes, option::SERVER, &server.octets());
    }
    if let Some(reason) = request.reason {
        put(&mut bytes, option::MESSAGE, reason.as_bytes());
    }
    if matches!(request.kind, RequestKind::Discover | RequestKind::Request) {
        put(&mut bytes, option::HOST_NAME, identity.host_name.as_bytes());
        let wanted =
            [option::MASK, option::ROUTER, option::LEASE, option::SERVER, option::RENEW, option::REBIND];
        put(&mut bytes, option::PARAMETERS, &wanted);
        put(&mut bytes, option::LONGEST, &LONGEST.to_be_bytes());
    }
    bytes.push(option::END);
    bytes.resize(bytes.len().max(SHORTEST), option::PAD);
    bytes
}

/// Puts an option; what is longer than an option can be is cut.
fn put(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    let value = value.get(..usize::from(u8::MAX)).unwrap_or(value);
    bytes.push(code);
    bytes.push(u8::try_from(value.len()).unwrap_or(u8::MAX));
    bytes.extend(value);
}

/// A server's message; `None` for what is none.
pub fn decode(bytes: &[u8]) -> Option<Reply> {
    let &[BOOT_REPLY, ETHERNET, MAC_LENGTH, ..] = bytes else { return None };
    if bytes.get(at::COOKIE)? != COOKIE {
        return None;
    }
    let options = options(bytes)?;
    let kind = match options.get(&option::KIND)?.as_slice() {
        [2] => ReplyKind::Offer,
        [5] => ReplyKind::Ack,
        [6] => ReplyKind::Nak,
        _ => return None,
    };
    let address = |code| options.get(&code).and_then(|value| address(value.get(..4)?));
    let term = |code| {
        let value: [u8; 4] = options.get(&code)?.as_slice().try_into().ok()?;
        Some(Term::of_seconds(u32::from_be_bytes(value)))
    };
    Some(Reply {
        kind,
        xid: u32::from_be_bytes(bytes.get(at::XID)?.try_into().ok()?),
        hardware: Mac(bytes.get(at::CHADDR)?.try_into().ok()?),
        client_id: options.get(&option::CLIENT_ID).cloned(),
        address: bytes.get(at::YIADDR).and_then(self::address),
        server: address(option::SERVER),
        mask: address(option::MASK),
        router: address(option::ROUTER),
        lease: term(option::LEASE),
        renew: term(option::RENEW),
        rebind: term(option::REBIND),
    })
}

/// An address, unless it says that there is none.
fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.try_into().ok()?;
    Some(Ipv4Addr::from(octets)).filter(|address| !address.is_unspecified())
}

/// All options by code. Those that occur more than once are parts of one (RFC 3396).
fn options(bytes: &[u8]) -> Option<BTreeMap<u8, Vec<u8>>> {
    const IN_FILE: u8 = 1;
    const IN_NAME: u8 = 2;
    let mut all = BTreeMap::new();
    read_options(bytes.get(at::OPTIONS..)?, &mut all)?;
    let overload = all.get(&option::OVERLOAD).and_then(|value: &Vec<u8>| value.first()).copied().unwrap_or(0);
    if overload & IN_FILE != 0 {
        read_options(bytes.get(at::FILE)?, &mut all)?;
    }
    if overload & IN_NAME != 0 {
        read_options(bytes.get(at::SNAME)?, &mut all)?;
    }
    Some(all)
}

/// Reads up to the end mark, or the end; `None` where an option is cut off.
fn read_options(mut bytes: &[u8], all: &mut BTreeMap<u8, Vec<u8>>) -> Option<()> {
    loop {
        match bytes {
            [] | [option::END, ..] => return Some(()),
            [option::PAD, rest @ ..] => bytes = rest,
            [code, length, rest @ ..] => {
                let length = usize::from(*length);
                all.entry(*code).or_default().extend(rest.get(..length)?);
                bytes = rest.get(length..)?;
            }
            [_] => return None,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
