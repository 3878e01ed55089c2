//! HTTP over connections whose handshake is done, with an eye on clients that hold them and say nothing.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;

use super::TlsListener;

/// How long a connection may wait for a request, and a request's headers may take. Go's and hyper's clients close
/// idle connections themselves after 90 seconds: one that is closed under them costs a repetition.
const IDLE: Duration = Duration::from_secs(100);
/// Bytes of a request's headers.
const HEADERS: usize = 64 << 10;

/// Answers until it is asked to stop; then finishes what is under way.
pub(in crate::api) async fn serve(mut listener: TlsListener, router: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let (connection, peer) = tokio::select! {
            Some(ready) = listener.ready.recv() => ready,
            () = &mut stop => break,
        };
        let service = TowerToHyperService::new(router.clone().layer(Extension(ConnectInfo(peer))));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(listener.idle).max_buf_size(HEADERS);
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(connection), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("API over TLS: {error}");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

impl TlsListener {
    pub(super) const IDLE: Duration = IDLE;

    /// With another time after which a silent connection is closed.
    #[cfg(test)]
    pub(in crate::api) const fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }
}
