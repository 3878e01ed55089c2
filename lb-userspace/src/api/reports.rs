//! `/lb/v1/status` and `/lb/v1/backends`: what the control loop tells.

use axum::Json;
use axum::extract::State;

use super::Api;
use super::failure::Failure;
use crate::control::report::{BackendsReport, NodeReport, Report};

pub(super) async fn status(State(api): State<Api>) -> Result<Json<NodeReport>, Failure> {
    Ok(Json(api.reports.node().await.ok_or_else(silent)?))
}

pub(super) async fn backends(State(api): State<Api>) -> Result<Json<BackendsReport>, Failure> {
    Ok(Json(report(&api).await?.backends))
}

pub(super) async fn report(api: &Api) -> Result<Report, Failure> {
    api.reports.all().await.ok_or_else(silent)
}

fn silent() -> Failure {
    Failure::unavailable("the control loop does not answer; the agent is stopping")
}
