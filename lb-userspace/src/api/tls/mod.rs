//! TCP with TLS: handshakes that take their time hold nobody else up.

mod certificate;
mod places;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::auth::{Certificate, Peer};
use crate::config::Listen;
pub use certificate::{Authority, MakeCertificate};
use places::{Place, Places};
pub(super) use serve::serve;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections at once, those that shake hands included.
const CONNECTIONS: usize = 512;
/// Those of one address. A client needs one or two.
const CONNECTIONS_OF_ONE: usize = 64;
/// How long a client may leave what is sent to it unacknowledged, or have no room for it.
const UNREAD: Duration = Duration::from_mins(1);
/// Connections that wait for the server's task.
const WAITING: usize = 16;
/// The pause after no connection could be taken: files are short, as a rule.
const PAUSE: Duration = Duration::from_millis(100);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum BindTls {
    /// The certificate, the key or the clients' authority is not good.
    #[error("api.listen: {0}")]
    Certificate(#[from] MakeCertificate),
    /// The address can't be listened at.
    #[error("api.listen.address {address}: {source}; choose another address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The operating system's answer.
        source: io::Error,
    },
}

/// A listener that gives connections whose handshake is done.
#[derive(Debug)]
pub struct TlsListener {
    address: SocketAddr,
    ready: mpsc::Receiver<(Connection, Peer)>,
    idle: Duration,
    accepting: JoinHandle<()>,
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A connection that counts among those at once.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    _place: Place,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Listens as it is configured; and tells the authority that clients have to trust.
///
/// # Errors
/// When the certificates are not good or the address can't be listened at.
pub async fn bind(listen: &Listen) -> Result<(TlsListener, Authority), BindTls> {
    let (config, authority) = certificate::server(listen)?;
    let bind = |source| BindTls::Bind { address: listen.address, source };
    let listener = TcpListener::bind(listen.address).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;
    let (sender, ready) = mpsc::channel(WAITING);
    let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), sender));
    Ok((TlsListener { address, ready, idle: TlsListener::IDLE, accepting }, authority))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<(Connection, Peer)>) {
    let places = Places::new(CONNECTIONS, CONNECTIONS_OF_ONE);
    loop {
        let Some(permit) = places.wait().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("API over TLS: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(place) = places.take(address.ip(), permit) else {
            tracing::debug!("API over TLS: {address} has {CONNECTIONS_OF_ONE} connections already");
            continue;
        };
        if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD)) {
            tracing::debug!("API over TLS: {error}");
        }
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let peer = Peer::Remote(certificate(&stream));
                    // An agent that stops takes no more connections.
                    drop(ready.send((Connection { stream, _place: place }, peer)).await);
                }
                Ok(Err(error)) => tracing::debug!("API over TLS: {error}"),
                Err(_) => tracing::debug!("API over TLS: no handshake within {HANDSHAKE:?}"),
            }
        });
    }
}

/// The client's certificate, whose signature has been verified.
fn certificate(stream: &TlsStream<TcpStream>) -> Option<Certificate> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?.to_owned();
    let expires = certificate.validity().not_after.timestamp();
    Some(Certificate { name, expires })
}

impl TlsListener {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

mod io_of_connection {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Connection;

    impl AsyncRead for Connection {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Connection {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(context)
        }
    }
}
