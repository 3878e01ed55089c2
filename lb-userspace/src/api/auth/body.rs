//! A request's body, read whole before anything is done: a sender who takes for ever holds up nothing but itself.

use std::error::Error as _;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use http_body_util::LengthLimitError;
use tokio::time::timeout;

use crate::api::failure::Failure;

/// The longest body, in bytes: as Kubernetes has it.
pub(in crate::api) const LONGEST: usize = 3 << 20;
/// How long a sender may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// The request with a body that has arrived.
///
/// # Errors
/// When it is too long, or takes too long.
pub(super) async fn whole(request: Request) -> Result<Request, Failure> {
    let (parts, body) = request.into_parts();
    let Ok(read) = timeout(PATIENCE, to_bytes(body, LONGEST)).await else {
        return Err(Failure::timed_out(format!("the body did not arrive within {PATIENCE:?}")));
    };
    let bytes = read.map_err(|error| {
        let is_long = error.source().is_some_and(<dyn std::error::Error>::is::<LengthLimitError>);
        if is_long {
            Failure::too_long(format!("the body is longer than {LONGEST} bytes"))
        } else {
            Failure::bad_request(format!("the body: {error}"))
        }
    })?;
    Ok(Request::from_parts(parts, Body::from(bytes)))
}
