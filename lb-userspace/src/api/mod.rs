//! HTTP over a Unix socket, in Kubernetes' API conventions.
//!
//! Input: requests. Output: intents to `control`'s registry, and snapshots of what it holds. Resources have
//! Kubernetes' paths, verbs and `Status` errors; what Kubernetes has no place for is under `/lb/v1`.
//!
//! Architecture invariant: only this folder and the command line's client name HTTP.

mod apply;
mod body;
mod discovery;
mod failure;
mod flows;
mod form;
mod observe;
mod query;
mod read;
mod reports;
mod selector;
pub mod socket;
mod target;
mod watch;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use tokio::net::UnixListener;

use crate::control::flows::Lister;
use crate::control::observe::Observer;
use crate::control::registry::Registry;
use crate::control::report::ReportRequests;
use crate::supervise::Stop;
use failure::Failure;

/// What the handlers work on.
#[derive(Clone)]
pub struct Api {
    registry: Arc<Registry>,
    reports: ReportRequests,
    flows: Lister,
    observer: Observer,
    /// True when the agent stops: watches end then.
    stopping: tokio::sync::watch::Receiver<bool>,
    stop: Arc<tokio::sync::watch::Sender<bool>>,
}

impl Api {
    /// On a registry; reports are asked for from the control loop, flows from their table, and packets
    /// from their programs.
    pub fn new(registry: Arc<Registry>, reports: ReportRequests, flows: Lister, observer: Observer) -> Self {
        let (stop, stopping) = tokio::sync::watch::channel(false);
        Self { registry, reports, flows, observer, stopping, stop: Arc::new(stop) }
    }

    fn router(self) -> Router {
        resources()
            .merge(discovery::router())
            .route("/lb/v1/apply", post(apply::apply))
            .route("/lb/v1/status", get(reports::status))
            .route("/lb/v1/backends", get(reports::backends))
            .route("/lb/v1/flows", get(flows::list))
            .route("/lb/v1/trace", post(observe::trace))
            .route("/lb/v1/capture", get(observe::capture))
            .route("/lb/v1/events", get(observe::events))
            .fallback(async |uri: Uri| Failure::no_such_path(uri.path()))
            .method_not_allowed_fallback(async |method: Method, uri: Uri| {
                Failure::no_such_verb(&method, uri.path())
            })
            .with_state(self)
    }

    /// Answers until it is asked to stop; requests that are under way are finished.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, listener: UnixListener, mut stop: Stop) -> std::io::Result<()> {
        let (observer, watches) = (self.observer.clone(), Arc::clone(&self.stop));
        let stopped = async move {
            stop.requested().await;
            observer.stop();
            watches.send_replace(true);
        };
        axum::serve(listener, self.router()).with_graceful_shutdown(stopped).await
    }
}

/// The routes of all resources.
fn resources() -> Router<Api> {
    let mut router = Router::new();
    for served in target::SERVED {
        let root = served.root();
        let all = get(read::list).post(write::create).delete(write::delete_collection);
        let one = get(read::get).put(write::replace).patch(write::patch).delete(write::delete);
        let resource = served.resource;
        if served.namespaced {
            router = router
                .route(&format!("{root}/{resource}"), get(read::list).delete(write::delete_collection))
                .route(&format!("{root}/namespaces/{{namespace}}/{resource}"), all)
                .route(&format!("{root}/namespaces/{{namespace}}/{resource}/{{name}}"), one);
        } else {
            router = router
                .route(&format!("{root}/{resource}"), all)
                .route(&format!("{root}/{resource}/{{name}}"), one);
        }
    }
    router
}

#[cfg(test)]
mod tests;
