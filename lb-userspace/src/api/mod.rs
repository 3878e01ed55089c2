//! HTTP over a Unix socket, and over TCP with TLS where that is configured, in Kubernetes' API conventions.
//!
//! Input: requests. Output: intents to `control`'s registry, and snapshots of what it holds. Resources have
//! Kubernetes' paths, verbs and `Status` errors; what Kubernetes has no place for is under `/lb/v1`.
//!
//! Architecture invariant: only this folder and the command line's client name HTTP.

mod apply;
mod auth;
mod body;
mod discovery;
mod failure;
mod flows;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod observe;
mod old;
pub mod openapi;
mod query;
mod read;
mod reports;
mod review;
mod selector;
pub mod socket;
mod target;
pub mod tls;
mod tokens;
mod warning;
mod watch;
mod write;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use tokio::net::UnixListener;

use crate::control::flows::Lister;
use crate::control::observe::Observer;
use crate::control::registry::Registry;
use crate::control::report::ReportRequests;
use crate::supervise::Stop;
pub use auth::{Certificate, Peer, Users};
use failure::Failure;
use tls::TlsListener;

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
    users: Arc<Users>,
    endpoint: Option<Arc<Endpoint>>,
    vm_names: VmNames,
}

/// Names the VM that has an address, by the namespace and the address.
pub type VmNames = Arc<dyn Fn(&str, &str) -> Option<String> + Send + Sync>;

/// Where clients reach the API over TCP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Address and port.
    pub address: String,
    /// The certificate that clients have to trust, in PEM.
    pub authority: String,
}

impl Api {
    /// On a registry; reports are asked for from the control loop, flows from their table, and packets
    /// from their programs.
    pub fn new(registry: Arc<Registry>, reports: ReportRequests, flows: Lister, observer: Observer) -> Self {
        let (stop, stopping) = tokio::sync::watch::channel(false);
        Self {
            registry,
            reports,
            flows,
            observer,
            stopping,
            stop: Arc::new(stop),
            users: Arc::default(),
            endpoint: None,
            vm_names: Arc::new(|_, _| None),
        }
    }

    /// With those who may do something beside root.
    #[must_use]
    pub fn with_users(mut self, users: Users) -> Self {
        self.users = Arc::new(users);
        self
    }

    /// With who names the VMs of addresses, for clients of v1alpha1.
    #[must_use]
    pub fn with_vm_names(mut self, vm_names: VmNames) -> Self {
        self.vm_names = vm_names;
        self
    }

    /// With the place where it is reached over TCP.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(Arc::new(endpoint));
        self
    }

    fn router(self) -> Router {
        resources()
            .merge(discovery::router())
            .merge(openapi::router())
            .merge(review::router())
            .route("/lb/v1/apply", post(apply::apply))
            .route("/lb/v1/status", get(reports::status))
            .route("/lb/v1/backends", get(reports::backends))
            .route("/lb/v1/flows", get(flows::list))
            .route("/lb/v1/trace", post(observe::trace))
            .route("/lb/v1/capture", get(observe::capture))
            .route("/lb/v1/events", get(observe::events))
            .route("/lb/v1/tokens", get(tokens::list).post(tokens::create))
            .route("/lb/v1/tokens/{name}", axum::routing::delete(tokens::revoke))
            .route("/lb/v1/listener", get(tokens::listener))
            .fallback(async |uri: Uri| Failure::no_such_path(uri.path()))
            .method_not_allowed_fallback(async |method: Method, uri: Uri| {
                Failure::no_such_verb(&method, uri.path())
            })
            // Around the fallbacks as well: whoever is not known learns nothing.
            .layer(DefaultBodyLimit::disable())
            .layer(axum::middleware::from_fn_with_state(self.clone(), auth::guard))
            .with_state(self)
    }

    /// Answers on the Unix socket until it is asked to stop; requests that are under way are finished.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, listener: UnixListener, stop: Stop) -> std::io::Result<()> {
        let stopped = self.clone().stopped(stop);
        let service = self.router().into_make_service_with_connect_info::<Peer>();
        axum::serve(listener, service).with_graceful_shutdown(stopped).await
    }

    /// As [`Api::serve`], over TLS.
    pub async fn serve_tls(self, listener: TlsListener, stop: Stop) {
        let stopped = self.clone().stopped(stop);
        tls::serve(listener, self.router(), stopped).await;
    }

    /// Ends what would go on for ever, when it is asked for.
    async fn stopped(self, mut stop: Stop) {
        stop.requested().await;
        self.observer.stop();
        self.stop.send_replace(true);
    }
}

/// The routes of all resources.
fn resources() -> Router<Api> {
    let mut router = Router::new();
    for served in target::SERVED {
        let root = served.root();
        let (mut every, mut all, mut one) = (get(read::list), get(read::list), get(read::get));
        if served.allows("create") {
            every = every.delete(write::delete_collection);
            all = all.post(write::create).delete(write::delete_collection);
            one = one.put(write::replace).patch(write::patch).delete(write::delete);
        }
        let resource = served.resource;
        if served.namespaced {
            router = router
                .route(&format!("{root}/{resource}"), every)
                .route(&format!("{root}/namespaces/{{namespace}}/{resource}"), all)
                .route(&format!("{root}/namespaces/{{namespace}}/{resource}/{{name}}"), one);
        } else {
            router = router
                .route(&format!("{root}/{resource}"), all)
                .route(&format!("{root}/{resource}/{{name}}"), one);
        }
    }
    router.layer(axum::middleware::from_fn(warning::of_version))
}

#[cfg(test)]
pub(crate) mod tests;
