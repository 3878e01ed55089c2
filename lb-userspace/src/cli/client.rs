//! HTTP/1 to the agent over its Unix socket.

use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
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
    /// The answer is not JSON.
    #[error("agent at {socket}: the answer to {path} is not JSON: {source}")]
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

    async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, RequestError> {
        let socket = || self.socket.clone();
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| RequestError::Connect { socket: socket(), source })?;
        let http = |source| RequestError::Http { socket: socket(), source };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        let driver = tokio::spawn(connection);
        let mut request = Request::new(Full::new(body.map_or_else(Bytes::new, |b| b.to_string().into())));
        *request.method_mut() = method;
        // A path is built from names that the server checks; one that is no URI can name nothing.
        *request.uri_mut() = path.parse().unwrap_or_default();
        request.headers_mut().insert("host", hyper::header::HeaderValue::from_static("localhost"));
        let content = hyper::header::HeaderValue::from_static("application/json");
        request.headers_mut().insert("content-type", content);
        let response = sender.send_request(request).await.map_err(http)?;
        let code = response.status();
        let bytes = response.into_body().collect().await.map_err(http)?.to_bytes();
        driver.abort();
        let answer: Value = serde_json::from_slice(&bytes).map_err(|source| RequestError::Json {
            socket: socket(),
            path: path.into(),
            source,
        })?;
        if code.is_success() {
            return Ok(answer);
        }
        let message = answer.get("message").and_then(Value::as_str).unwrap_or(code.as_str()).to_owned();
        Err(RequestError::Refused { code, message, status: Box::new(answer) })
    }
}
