//! HTTP/1 to the agent over its Unix socket.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HeaderValue, WARNING};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::UnixStream;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody listens.
    #[error(
        "no agent answers at {socket}: {source}; start it with `lb agent`, or name its socket with --socket"
    )]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("agent at {socket}: {source}")]
    Http {
        /// The socket.
        socket: PathBuf,
        /// What broke.
        source: hyper::Error,
    },
    /// The answer is not JSON, or not what it should be.
    #[error("agent at {socket}: the answer to {path} is not understood: {source}")]
    Json {
        /// The socket.
        socket: PathBuf,
        /// The path asked for.
        path: String,
        /// Where it is not.
        source: serde_json::Error,
    },
    /// The agent refused.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: StatusCode,
        /// The agent's words.
        message: String,
        /// The whole answer, a Kubernetes `Status`.
        status: Box<Value>,
    },
}

impl RequestError {
    /// Another writer was faster.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == StatusCode::CONFLICT)
    }

    /// What was asked for is not known any more: a list tells what there is.
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == StatusCode::GONE)
    }

    /// No agent answers now: another one may later.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Http { .. } => true,
            Self::Refused { code, .. } => *code == StatusCode::SERVICE_UNAVAILABLE,
            Self::Json { .. } => false,
        }
    }

    /// The named object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == StatusCode::NOT_FOUND)
    }
}

/// Speaks to one agent; one connection a request.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Of the agent behind a socket.
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Reads.
    ///
    /// # Errors
    /// When the agent does not answer or refuses.
    pub async fn get(&self, path: &str) -> Result<Value, RequestError> {
        self.request(Method::GET, path, None).await
    }

    /// As [`Client::get`], as what it should be.
    ///
    /// # Errors
    /// When the agent does not answer, refuses, or answers something else.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, RequestError> {
        let answer = self.get(path).await?;
        let wrong = |source| RequestError::Json { socket: self.socket.clone(), path: path.into(), source };
        serde_json::from_value(answer).map_err(wrong)
    }

    /// Creates.
    ///
    /// # Errors
    /// When the agent does not answer or refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, RequestError> {
        self.request(Method::POST, path, Some(body)).await
    }

    /// Replaces.
    ///
    /// # Errors
    /// When the agent does not answer or refuses.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, RequestError> {
        self.request(Method::PUT, path, Some(body)).await
    }

    /// Changes fields (RFC 7396).
    ///
    /// # Errors
    /// When the agent does not answer or refuses.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Value, RequestError> {
        self.request(Method::PATCH, path, Some(body)).await
    }

    /// Removes.
    ///
    /// # Errors
    /// When the agent does not answer or refuses.
    pub async fn delete(&self, path: &str) -> Result<Value, RequestError> {
        self.request(Method::DELETE, path, None).await
    }

    /// Reads an answer that comes line by line, each a JSON value, as long as the visitor goes on.
    ///
    /// # Errors
    /// When the agent does not answer or refuses, the answer breaks off, or the visitor fails.
    pub async fn lines<E: From<RequestError>>(
        &self,
        path: &str,
        mut visitor: impl FnMut(Value) -> Result<(), E>,
    ) -> Result<(), E> {
        let response = self.send(Method::GET, path, None).await?;
        if !response.status().is_success() {
            self.answer(path, response).await?;
            return Ok(());
        }
        warn(&response);
        let mut body = response.into_body();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| RequestError::Http { socket: self.socket.clone(), source })?;
            text.extend_from_slice(frame.data_ref().map_or(&[][..], Bytes::as_ref));
            let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let rest = text.split_off(end);
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                visitor(self.json(path, line)?)?;
            }
            text = rest;
        }
        Ok(())
    }

    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, RequestError> {
        let response = self.send(method, path, body).await?;
        self.answer(path, response).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Incoming>, RequestError> {
        let mut request = Request::new(Full::new(body.map_or_else(Bytes::new, |b| b.to_string().into())));
        *request.method_mut() = method;
        // A path is built from names that the server checks; one that is no URI can name nothing.
        *request.uri_mut() = path.parse().unwrap_or_default();
        request.headers_mut().insert("host", HeaderValue::from_static("localhost"));
        request.headers_mut().insert("user-agent", HeaderValue::from_static("lb"));
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
        self.exchange(request).await
    }

    /// Sends a request as it is.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, RequestError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| RequestError::Connect { socket: self.socket.clone(), source })?;
        let http = |source| RequestError::Http { socket: self.socket.clone(), source };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        // Ends with the answer, or when nobody reads it any more.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(http)
    }

    async fn answer(&self, path: &str, response: Response<Incoming>) -> Result<Value, RequestError> {
        let code = response.status();
        warn(&response);
        let http = |source| RequestError::Http { socket: self.socket.clone(), source };
        let bytes = response.into_body().collect().await.map_err(http)?.to_bytes();
        let answer = self.json(path, &bytes)?;
        if code.is_success() {
            return Ok(answer);
        }
        let message = answer.get("message").and_then(Value::as_str).unwrap_or(code.as_str()).to_owned();
        Err(RequestError::Refused { code, message, status: Box::new(answer) })
    }

    fn json(&self, path: &str, text: &[u8]) -> Result<Value, RequestError> {
        let wrong = |source| RequestError::Json { socket: self.socket.clone(), path: path.into(), source };
        serde_json::from_slice(text).map_err(wrong)
    }
}

/// Shows what the agent warns of.
fn warn(response: &Response<Incoming>) {
    for warning in response.headers().get_all(WARNING) {
        let text = String::from_utf8_lossy(warning.as_bytes());
        let text = text.strip_prefix("299 - \"").and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
        eprintln!("warning: {}", unescaped(text));
    }
}

/// A quoted string's text.
fn unescaped(quoted: &str) -> String {
    let mut is_escaped = false;
    let is_text = |c: &char| {
        is_escaped = *c == '\\' && !is_escaped;
        !is_escaped
    };
    quoted.chars().filter(is_text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_warning_is_shown_as_it_was_meant() {
        assert_eq!(unescaped(r#"a \"b\" \\c \\\"d"#), r#"a "b" \c \"d"#);
    }
}
