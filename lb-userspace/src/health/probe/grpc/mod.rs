//! A call of `grpc.health.v1.Health/Check`, over HTTP/2.

mod wire;

use std::io::{self, Cursor};
use std::net::SocketAddr;
use std::time::Duration;

use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use http::header::{CONTENT_TYPE, HeaderMap, TE};
use http::{Method, Request, StatusCode, Version};

use super::Stream;
use crate::health::failure::{ProbeFailed, words};
use crate::model::check::CheckedTls;

/// The method that is called.
const PATH: &str = "/grpc.health.v1.Health/Check";
/// As many bytes of headers are taken.
const MAX_HEAD: u32 = 16 * 1024;
/// As many bytes of an answer are taken: it is a number.
const MAX_ANSWER: usize = 1024;

/// Succeeds if the service is said to serve.
pub(super) async fn check(
    stream: impl Stream + 'static,
    address: SocketAddr,
    service: &str,
    tls: Option<&CheckedTls>,
    within: Duration,
) -> Result<(), ProbeFailed> {
    let explain = |error: h2::Error| explain(&error, within);
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(MAX_HEAD);
    let (sender, connection) = builder.handshake(stream).await.map_err(explain)?;
    let name = tls.and_then(|tls| tls.server_name.as_ref());
    let authority = name.map_or_else(|| address.to_string(), |name| name.as_ref().to_owned());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let uri = format!("{scheme}://{authority}{PATH}");
    let call = call(sender, &uri, service);
    tokio::pin!(call);
    let result = tokio::select! {
        biased;
        result = &mut call => result,
        // The server may have closed the connection behind its answer.
        ended = connection => match (call.await, ended) {
            (Err(_), Err(error)) => Err(error.into()),
            (result, _) => result,
        },
    };
    result.map_err(|failed| match failed {
        CallFailed::Http2(error) => explain(error),
        CallFailed::Answer(failed) => failed,
    })
}

enum CallFailed {
    Http2(h2::Error),
    Answer(ProbeFailed),
}

impl From<h2::Error> for CallFailed {
    fn from(error: h2::Error) -> Self {
        Self::Http2(error)
    }
}

impl From<ProbeFailed> for CallFailed {
    fn from(failed: ProbeFailed) -> Self {
        Self::Answer(failed)
    }
}

async fn call(sender: SendRequest<Cursor<Vec<u8>>>, uri: &str, service: &str) -> Result<(), CallFailed> {
    let request = Request::builder().method(Method::POST).uri(uri).version(Version::HTTP_2);
    let request = request.header(CONTENT_TYPE, "application/grpc").header(TE, "trailers").body(());
    let request = request.map_err(|error| ProbeFailed::NotGrpc(words(&error)))?;
    let mut sender = sender.ready().await?;
    let (answer, mut body) = sender.send_request(request, false)?;
    body.send_data(Cursor::new(wire::question(service)), true)?;
    let (head, mut body) = answer.await?.into_parts();
    if head.status != StatusCode::OK {
        return Err(ProbeFailed::Status(head.status.as_u16()).into());
    }
    let message = read(&mut body).await?;
    // A server without anything to say puts the trailers into the head.
    let trailers = body.trailers().await?.unwrap_or(head.headers);
    good(&trailers)?;
    match wire::answer(&message) {
        Some(wire::SERVING) => Ok(()),
        Some(status) => Err(ProbeFailed::NotServing(wire::name(status)).into()),
        None => Err(ProbeFailed::NotGrpc("not the answer of a health service".into()).into()),
    }
}

async fn read(body: &mut RecvStream) -> Result<Vec<u8>, CallFailed> {
    let mut message = Vec::new();
    while let Some(part) = body.data().await {
        message.extend_from_slice(&part?);
        if message.len() > MAX_ANSWER {
            return Err(ProbeFailed::NotGrpc("too long an answer".into()).into());
        }
    }
    Ok(message)
}

/// Whether the call itself went well.
fn good(trailers: &HeaderMap) -> Result<(), ProbeFailed> {
    /// The server knows the health service, but not the service that is asked about.
    const NOT_FOUND: &[u8] = b"5";
    /// The server has no health service.
    const UNIMPLEMENTED: &[u8] = b"12";
    match trailers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        Some(NOT_FOUND) => Err(ProbeFailed::NotServing("unknown service")),
        Some(UNIMPLEMENTED) => Err(ProbeFailed::NotServing("no grpc.health.v1.Health")),
        Some(code) => {
            let code = String::from_utf8_lossy(code);
            Err(ProbeFailed::NotGrpc(words(&format_args!("status {code}"))))
        }
        None => Err(ProbeFailed::NotGrpc("an answer without grpc-status".into())),
    }
}

fn explain(error: &h2::Error, within: Duration) -> ProbeFailed {
    match error.get_io() {
        Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => ProbeFailed::Closed,
        Some(error) => super::tls::explain(error, within),
        None => ProbeFailed::NotGrpc(words(error)),
    }
}
