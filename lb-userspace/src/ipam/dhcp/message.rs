//! What clients and servers say to each other (RFC 2131), as far as a client needs it.

use std::net::Ipv4Addr;
use std::time::Duration;

use lb_common::net::Mac;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The client identifier (option 61): what a server keys its leases by.
    pub client_id: Vec<u8>,
    /// Shown by servers (option 12).
    pub host_name: String,
    /// The hardware address of messages (`chaddr`).
    pub hardware: Mac,
    /// Answers are to be broadcast: no interface listens to [`Identity::hardware`].
    pub broadcast: bool,
}

/// What a client says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Its type.
    pub kind: RequestKind,
    /// Chosen by the client, repeated in answers.
    pub xid: u32,
    /// Seconds since the client began.
    pub seconds: u16,
    /// The address that the client uses (`ciaddr`).
    pub using: Option<Ipv4Addr>,
    /// The address that it wants (option 50).
    pub requested: Option<Ipv4Addr>,
    /// The server that it speaks to (option 54).
    pub server: Option<Ipv4Addr>,
    /// Why, in words (option 56).
    pub reason: Option<&'static str>,
}

/// The type of a client's message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKind {
    /// Who has an address for me?
    Discover,
    /// I take this one; may I keep it?
    Request,
    /// Somebody else uses it.
    Decline,
    /// I need it no more.
    Release,
}

/// What a server says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Its type.
    pub kind: ReplyKind,
    /// That of the request.
    pub xid: u32,
    /// That of the client.
    pub hardware: Mac,
    /// That of the client, where the server repeats it (RFC 6842).
    pub client_id: Option<Vec<u8>>,
    /// The client's address (`yiaddr`).
    pub address: Option<Ipv4Addr>,
    /// The server (option 54).
    pub server: Option<Ipv4Addr>,
    /// The network's mask.
    pub mask: Option<Ipv4Addr>,
    /// The first of the network's routers.
    pub router: Option<Ipv4Addr>,
    /// How long the address is lent.
    pub lease: Option<Term>,
    /// When to ask the server again (T1).
    pub renew: Option<Term>,
    /// When to ask any server (T2).
    pub rebind: Option<Term>,
}

/// The type of a server's message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyKind {
    /// An address could be had.
    Offer,
    /// The address is the client's.
    Ack,
    /// It is not, or not any more.
    Nak,
}

/// A time as options carry it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Term {
    /// So long.
    For(Duration),
    /// For ever.
    Endless,
}

impl Term {
    /// From seconds, of which the greatest number is for ever.
    pub const fn of_seconds(seconds: u32) -> Self {
        match seconds {
            u32::MAX => Self::Endless,
            seconds => Self::For(Duration::from_secs(seconds as u64)),
        }
    }

    /// The time; `None` for ever.
    pub const fn finite(self) -> Option<Duration> {
        match self {
            Self::For(duration) => Some(duration),
            Self::Endless => None,
        }
    }
}
