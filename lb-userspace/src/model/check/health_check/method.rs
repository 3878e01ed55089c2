//! What a probe asks, and what answer is good.

use std::fmt;
use std::ops::RangeInclusive;

use http::uri::{Authority, PathAndQuery};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, DnsName};

use crate::model::check::words;
use crate::model::field::Problems;
use crate::model::health_check::{GrpcCheck, HealthCheck, HttpCheck, TlsCheck, UdpCheck};

/// The type of a check that is off.
pub(super) const NONE: &str = "None";
/// Bytes of a datagram: what fits into one packet anywhere.
const MAX_PAYLOAD: usize = 1024;
/// Bytes of a path, a host or a name of a service.
const MAX_TEXT: usize = 1024;
/// Bytes of certificates as PEM: a few dozen authorities.
const MAX_AUTHORITIES: usize = 128 * 1024;
/// Status codes that are good, unless given.
const GOOD: StatusRange = StatusRange { first: 200, last: 399 };

/// The types of checks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Kind {
    #[default]
    Default,
    None,
    Tcp,
    Http,
    Https,
    Udp,
    Grpc,
}

pub(super) const KINDS: &[(&str, Kind)] = &[
    ("", Kind::Default),
    ("TCP", Kind::Tcp),
    ("HTTP", Kind::Http),
    ("HTTPS", Kind::Https),
    ("UDP", Kind::Udp),
    ("GRPC", Kind::Grpc),
    (NONE, Kind::None),
];

/// What a probe asks, and what answer is good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProbeMethod {
    /// A connection that opens.
    Tcp,
    /// A GET request.
    Http {
        /// Path and query.
        path: PathAndQuery,
        /// The `Host` header; `None` is the server's address and port.
        host: Option<Authority>,
        /// Status codes that are good.
        expected: Vec<StatusRange>,
        /// `None` is plain HTTP.
        tls: Option<CheckedTls>,
    },
    /// A datagram.
    Udp {
        /// What is sent.
        payload: Vec<u8>,
        /// What an answer must contain; empty: no answer is needed, only no ICMP port unreachable.
        expected: Vec<u8>,
    },
    /// A call of `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service that is asked about; empty is the server as a whole.
        service: String,
        /// `None` is without TLS.
        tls: Option<CheckedTls>,
    },
}

/// TLS towards a server.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CheckedTls {
    /// Whether the server's certificate must be good.
    pub verify: bool,
    /// Whom to ask for, and whom the certificate must be for; `None` is the server's address.
    pub server_name: Option<DnsName<'static>>,
    /// Who may have signed it; `None` are the node's authorities.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

/// HTTP status codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// Whether a status code is among them.
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    fn parse(text: &str) -> Option<Self> {
        const CODES: RangeInclusive<u16> = 100..=599;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let code = |text: &str| text.trim().parse().ok().filter(|code| CODES.contains(code));
        let range = Self { first: code(first)?, last: code(last)? };
        (range.first <= range.last).then_some(range)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// `None` after a problem.
pub(super) fn check(
    raw: &HealthCheck,
    kind: Kind,
    path: &str,
    problems: &mut Problems,
) -> Option<ProbeMethod> {
    let is_http = matches!(kind, Kind::Http | Kind::Https);
    let is_tls = matches!(kind, Kind::Https | Kind::Grpc);
    for (section, is_there, is_used, types) in [
        ("http", raw.http.is_some(), is_http, "HTTP and HTTPS"),
        ("tls", raw.tls.is_some(), is_tls, "HTTPS and GRPC"),
        ("udp", raw.udp.is_some(), kind == Kind::Udp, "UDP"),
        ("grpc", raw.grpc.is_some(), kind == Kind::Grpc, "GRPC"),
    ] {
        if is_there && !is_used {
            let problem = format!("only for the type {types}");
            problems.add(format!("{path}.{section}"), &raw.kind, problem, "leave it out, or give the type");
        }
    }
    let tls = raw.tls.as_ref();
    match kind {
        Kind::None => None,
        Kind::Default | Kind::Tcp => Some(ProbeMethod::Tcp),
        Kind::Http | Kind::Https => {
            let http = raw.http.clone().unwrap_or_default();
            let host = check_host(&http.host, &format!("{path}.http.host"), problems);
            let tls = (kind == Kind::Https).then(|| check_tls(tls, host.as_ref(), path, problems));
            let (request, expected) = check_http(&http, path, problems);
            Some(ProbeMethod::Http { path: request?, host, expected, tls })
        }
        Kind::Udp => check_udp(&raw.udp.clone().unwrap_or_default(), path, problems),
        Kind::Grpc => {
            let GrpcCheck { service } = raw.grpc.clone().unwrap_or_default();
            if service.len() > MAX_TEXT {
                let remedy = format!("use up to {MAX_TEXT} bytes");
                problems.add(format!("{path}.grpc.service"), service.len(), "too long", remedy);
            }
            let tls = tls.map(|tls| check_tls(Some(tls), None, path, problems));
            Some(ProbeMethod::Grpc { service, tls })
        }
    }
}

fn check_host(text: &str, path: &str, problems: &mut Problems) -> Option<Authority> {
    if text.is_empty() {
        return None;
    }
    let host = text.parse::<Authority>().ok().filter(|_| !text.contains('@') && text.len() <= MAX_TEXT);
    if host.is_none() {
        problems.add(path, text, "not a host", "use a name or an address, with :port if need be");
    }
    host
}

fn check_http(
    http: &HttpCheck,
    path: &str,
    problems: &mut Problems,
) -> (Option<PathAndQuery>, Vec<StatusRange>) {
    let text = if http.path.is_empty() { "/" } else { &http.path };
    let is_path = text.starts_with('/') && !text.contains('#') && text.len() <= MAX_TEXT;
    let request = text.parse::<PathAndQuery>().ok().filter(|_| is_path);
    if request.is_none() {
        let remedy = "begin it with / and write other characters than letters, digits and -._~/?&= as %XX";
        problems.add(format!("{path}.http.path"), text, "not a path", remedy);
    }
    let mut expected = Vec::new();
    for (index, text) in http.expected_statuses.iter().enumerate() {
        let range = StatusRange::parse(text);
        if range.is_none() {
            let path = format!("{path}.http.expectedStatuses[{index}]");
            problems.add(path, text, "not a status code or range", "use 100 to 599, as 204 or 200-399");
        }
        expected.extend(range);
    }
    if http.expected_statuses.is_empty() {
        expected.push(GOOD);
    }
    (request, expected)
}

fn check_tls(
    raw: Option<&TlsCheck>,
    host: Option<&Authority>,
    path: &str,
    problems: &mut Problems,
) -> CheckedTls {
    let raw = raw.cloned().unwrap_or_default();
    let server_name = match raw.server_name.as_str() {
        "" => host.and_then(|host| DnsName::try_from(host.host().to_owned()).ok()),
        text => {
            let name = DnsName::try_from(text.to_owned()).ok();
            if name.is_none() {
                let remedy = "use a DNS name, or leave it out for the server's address";
                problems.add(format!("{path}.tls.serverName"), text, "not a DNS name", remedy);
            }
            name
        }
    };
    let authorities = match raw.certificate_authorities.as_str() {
        "" => None,
        text => check_authorities(text, &format!("{path}.tls.certificateAuthorities"), problems),
    };
    if authorities.is_some() && !raw.verify {
        let problem = "without effect: the certificate is not verified";
        problems.add(
            format!("{path}.tls.verify"),
            false,
            problem,
            "set it to true, or leave certificateAuthorities out",
        );
    }
    CheckedTls { verify: raw.verify, server_name, authorities }
}

fn check_authorities(
    text: &str,
    path: &str,
    problems: &mut Problems,
) -> Option<Vec<CertificateDer<'static>>> {
    let remedy = "use one or more blocks of -----BEGIN CERTIFICATE-----";
    if text.len() > MAX_AUTHORITIES {
        let remedy = format!("use up to {MAX_AUTHORITIES} bytes");
        problems.add(path, text.len(), "too long", remedy);
        return None;
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let problem = match certificates {
        Ok(certificates) if certificates.is_empty() => "no certificate in it".to_owned(),
        Ok(certificates) => {
            let mut store = RootCertStore::empty();
            match certificates.iter().try_for_each(|certificate| store.add(certificate.clone())) {
                Ok(()) => return Some(certificates),
                Err(error) => format!("not an authority's certificate: {error}"),
            }
        }
        Err(error) => format!("not PEM: {error}"),
    };
    problems.add(path, text.lines().next().unwrap_or_default(), problem, remedy);
    None
}

fn check_udp(raw: &UdpCheck, path: &str, problems: &mut Problems) -> Option<ProbeMethod> {
    #[derive(Clone, Copy, Default, PartialEq)]
    enum Encoding {
        #[default]
        Text,
        Hex,
    }
    const ENCODINGS: &[(&str, Encoding)] =
        &[("", Encoding::Text), ("Text", Encoding::Text), ("Hex", Encoding::Hex)];
    let encoding = words::check(ENCODINGS, &format!("{path}.udp.encoding"), &raw.encoding, problems);
    let mut bytes = |field: &str, text: &str| {
        let bytes = match encoding {
            Encoding::Text => Some(text.as_bytes().to_owned()),
            Encoding::Hex => unhex(text),
        };
        let problem = match &bytes {
            None => "not pairs of hexadecimal digits",
            Some(bytes) if bytes.len() > MAX_PAYLOAD => "too long",
            Some(_) => return bytes,
        };
        let remedy = format!("use up to {MAX_PAYLOAD} bytes");
        problems.add(format!("{path}.udp.{field}"), text, problem, remedy);
        None
    };
    let (payload, expected) = (bytes("payload", &raw.payload), bytes("expected", &raw.expected));
    Some(ProbeMethod::Udp { payload: payload?, expected: expected? })
}

/// Pairs of digits; spaces between them are passed over.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> =
        text.chars().filter(|c| !c.is_whitespace()).map(|digit| digit.to_digit(16)).collect();
    let pairs = digits?;
    let (pairs, rest) = pairs.as_chunks::<2>();
    let byte = |[high, low]: &[u32; 2]| u8::try_from(high * 16 + low).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
