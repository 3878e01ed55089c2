//! HTTP over a Unix socket, in Kubernetes' API conventions.
//!
//! Input: requests. Output: intents to `control`'s registry, and snapshots of what it holds. Resources have
//! Kubernetes' paths, verbs and `Status` errors; what Kubernetes has no place for is under `/lb/v1`.
//!
//! Architecture invariant: only this folder and the command line's client name HTTP.

mod apply;
mod failure;
mod flows;
mod ip_pools;
mod load_balancers;
mod observe;
mod query;
mod reports;
pub mod socket;

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
}

impl Api {
    /// On a registry; reports are asked for from the control loop, flows from their table, and packets
    /// from their programs.
    pub fn new(registry: Arc<Registry>, reports: ReportRequests, flows: Lister, observer: Observer) -> Self {
        Self { registry, reports, flows, observer }
    }

    fn router(self) -> Router {
        const GROUP: &str = "/apis/loadbalancer.harvesterhci.io/v1beta1";
        let one_load_balancer = get(load_balancers::read)
            .put(load_balancers::replace)
            .patch(load_balancers::patch)
            .delete(load_balancers::delete);
        let one_pool =
            get(ip_pools::read).put(ip_pools::replace).patch(ip_pools::patch).delete(ip_pools::delete);
        Router::new()
            .route(&format!("{GROUP}/loadbalancers"), get(load_balancers::list_all))
            .route(
                &format!("{GROUP}/namespaces/{{namespace}}/loadbalancers"),
                get(load_balancers::list).post(load_balancers::create),
            )
            .route(&format!("{GROUP}/namespaces/{{namespace}}/loadbalancers/{{name}}"), one_load_balancer)
            .route(&format!("{GROUP}/ippools"), get(ip_pools::list).post(ip_pools::create))
            .route(&format!("{GROUP}/ippools/{{name}}"), one_pool)
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
        let observer = self.observer.clone();
        let stopped = async move {
            stop.requested().await;
            observer.stop();
        };
        axum::serve(listener, self.router()).with_graceful_shutdown(stopped).await
    }
}

#[cfg(test)]
mod tests;
