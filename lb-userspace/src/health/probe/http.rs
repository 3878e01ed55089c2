//! A GET request of HTTP/1.1, of which only the status code is read.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::{CONNECTION, HOST, USER_AGENT};
use http::uri::{Authority, PathAndQuery};
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::Stream;
use crate::health::failure::{ProbeFailed, words};

/// As many bytes of headers are read.
const MAX_HEAD: usize = 16 * 1024;
/// Who asks, in servers' logs.
const AGENT: &str = concat!("lb-health-check/", env!("CARGO_PKG_VERSION"));

/// The request. Without a host, the server is called by its address.
pub(super) fn request(
    address: SocketAddr,
    path: &PathAndQuery,
    host: Option<&Authority>,
) -> Result<Request<Empty<Bytes>>, ProbeFailed> {
    let host = host.map_or_else(|| address.to_string(), ToString::to_string);
    let request = Request::get(path.as_str()).header(HOST, host).header(USER_AGENT, AGENT);
    let request = request.header(CONNECTION, "close").body(Empty::new());
    request.map_err(|error| ProbeFailed::NotHttp(words(&error)))
}

/// The status code of the answer.
pub(super) async fn status(
    stream: impl Stream + 'static,
    request: Request<Empty<Bytes>>,
    within: Duration,
) -> Result<u16, ProbeFailed> {
    let handshake = http1::Builder::new().max_buf_size(MAX_HEAD).handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|error| explain(&error, within))?;
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        // The server may have closed the connection behind its answer.
        ended = connection => match (answer.await, ended) {
            (Err(_), Err(error)) => Err(error),
            (answer, _) => answer,
        },
    };
    answer.map(|answer| answer.status().as_u16()).map_err(|error| explain(&error, within))
}

fn explain(error: &hyper::Error, within: Duration) -> ProbeFailed {
    if let Some(error) = error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        return super::tls::explain(error, within);
    }
    if error.is_incomplete_message() || error.is_canceled() {
        return ProbeFailed::Closed;
    }
    ProbeFailed::NotHttp(words(error))
}
