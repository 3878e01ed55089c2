//! Why probes fail.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// As much of what a server or a library says is kept.
const MAX_WORDS: usize = 160;

/// Why a probe failed. Equal failures say the same words, so that a server that stays as it is makes no news.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProbeFailed {
    /// The server's host answered with RST.
    #[error("connection refused")]
    Refused,
    /// The connection was open, and the server reset it.
    #[error("connection reset")]
    Reset,
    /// The server closed the connection instead of answering.
    #[error("connection closed without an answer")]
    Closed,
    /// No answer within the timeout.
    #[error("timed out after {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The network or the host is out of reach.
    #[error("unreachable")]
    Unreachable,
    /// The server's host answered a datagram with ICMP port unreachable.
    #[error("port unreachable")]
    PortUnreachable,
    /// A status code that is not expected.
    #[error("HTTP {0}")]
    Status(u16),
    /// An answer that is not HTTP.
    #[error("not HTTP: {0}")]
    NotHttp(Arc<str>),
    /// No connection by TLS, or a certificate that is not good.
    #[error("TLS: {0}")]
    Tls(Arc<str>),
    /// A datagram that does not contain what is expected.
    #[error("another answer than expected")]
    OtherAnswer,
    /// The server says that the service does not serve.
    #[error("gRPC: {0}")]
    NotServing(&'static str),
    /// An answer that is not that of a gRPC health service.
    #[error("gRPC: {0}")]
    NotGrpc(Arc<str>),
    /// The operating system refused to probe.
    #[error("cannot probe: {0}")]
    System(io::ErrorKind),
}

impl ProbeFailed {
    /// One word, for status and events.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Refused => "ConnectionRefused",
            Self::Reset => "ConnectionReset",
            Self::Closed => "ConnectionClosed",
            Self::TimedOut(_) => "ProbeTimedOut",
            Self::Unreachable => "Unreachable",
            Self::PortUnreachable => "PortUnreachable",
            Self::Status(_) => "UnexpectedStatus",
            Self::NotHttp(_) | Self::OtherAnswer | Self::NotGrpc(_) => "UnexpectedAnswer",
            Self::Tls(_) => "TlsFailed",
            Self::NotServing(_) => "NotServing",
            Self::System(_) => "ProbeNotPossible",
        }
    }

    /// What the operating system says of a connection; `within` is the probe's timeout.
    pub fn of(kind: io::ErrorKind, within: Duration) -> Self {
        use io::ErrorKind as Kind;
        let is = |kinds: &[Kind]| kinds.contains(&kind);
        if is(&[Kind::ConnectionRefused]) {
            Self::Refused
        } else if is(&[Kind::ConnectionReset, Kind::ConnectionAborted, Kind::BrokenPipe]) {
            Self::Reset
        } else if is(&[Kind::UnexpectedEof]) {
            Self::Closed
        } else if is(&[Kind::HostUnreachable, Kind::NetworkUnreachable]) {
            Self::Unreachable
        } else if is(&[Kind::TimedOut]) {
            Self::TimedOut(within)
        } else {
            Self::System(kind)
        }
    }
}

/// What somebody else says, on one line of bounded length: a server chooses some of the words.
pub(super) fn words(text: &impl ToString) -> Arc<str> {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.to_string().chars().map(printable).take(MAX_WORDS).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_in_words() {
        for (failed, name, text) in [
            (ProbeFailed::Refused, "ConnectionRefused", "connection refused"),
            (ProbeFailed::Status(503), "UnexpectedStatus", "HTTP 503"),
            (ProbeFailed::TimedOut(Duration::from_secs(3)), "ProbeTimedOut", "timed out after 3 s"),
            (ProbeFailed::NotServing("NOT_SERVING"), "NotServing", "gRPC: NOT_SERVING"),
        ] {
            assert_eq!((failed.name(), failed.to_string().as_str()), (name, text));
        }
    }

    #[test]
    fn words_of_others_stay_on_one_short_line() {
        assert_eq!(&*words(&"bad\n\u{1b}[31mname"), "bad  [31mname");
        assert_eq!(words(&"x".repeat(10_000)).len(), MAX_WORDS);
    }
}
