//! Answers that go on: they end when what was granted is granted no more.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::Method;
use axum::response::Response;
use futures_util::StreamExt as _;
use tokio::time::sleep;

use super::{Claim, access};
use crate::api::Api;

/// How often is asked again what changes without a word: the members of a group.
const AGAIN: Duration = Duration::from_mins(1);

/// The answer; if it is a stream, it ends as soon as its reader could not ask for it any more. A reader that asks
/// again learns why.
pub(super) fn while_granted(
    response: Response,
    api: Api,
    claim: Claim,
    method: Method,
    path: String,
) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    let revoked = Box::pin(async move { api.until_revoked(&claim, &method, &path).await });
    response.map(|body| Body::from_stream(body.into_data_stream().take_until(revoked)))
}

impl Api {
    async fn until_revoked(&self, claim: &Claim, method: &Method, path: &str) {
        let mut resources = self.registry.watch();
        loop {
            resources.mark_unchanged();
            let identity = self.identify(claim);
            if !identity.is_ok_and(|identity| identity.grant.allows(access(method, path))) {
                tracing::info!("{method} {path} ends: it is no longer granted");
                return;
            }
            tokio::select! {
                changed = resources.changed() => if changed.is_err() { return },
                () = sleep(self.good_for(claim).unwrap_or(AGAIN).min(AGAIN)) => {}
            }
        }
    }

    /// How long a claim is good; `None` is for ever.
    fn good_for(&self, claim: &Claim) -> Option<Duration> {
        let end = match claim {
            Claim::Process(_) | Claim::Certificate(None) => return None,
            Claim::Certificate(Some(certificate)) => {
                jiff::Timestamp::from_second(certificate.expires).ok()?
            }
            Claim::Token(hash) => {
                let resources = self.registry.snapshot();
                let token = resources.tokens.values().find(|token| token.hash == *hash)?;
                token.expires.as_ref()?.parse().ok()?
            }
        };
        let left = end.duration_since(jiff::Timestamp::now());
        // A certificate is good for its whole last second.
        Some(Duration::try_from(left).unwrap_or_default() + Duration::from_millis(1))
    }
}
