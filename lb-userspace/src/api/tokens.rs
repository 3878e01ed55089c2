//! `/lb/v1/tokens`: given, listed without their secrets, revoked; and `/lb/v1/listener`, where they are good.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::auth::token;
use super::failure::Failure;
use crate::control::tokens::Token;
use crate::model::grant::Grant;
use crate::model::{names, parse};

/// What a client asks for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wish {
    name: String,
    grant: Grant,
    /// From now; absent is for ever.
    expires_seconds: Option<u32>,
}

pub(super) async fn list(State(api): State<Api>) -> Json<Value> {
    let resources = api.registry.snapshot();
    let items: Vec<Value> = resources.tokens.values().map(shown).collect();
    Json(json!({ "items": items }))
}

pub(super) async fn create(
    State(api): State<Api>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let wish: Wish = parse::json(&body).map_err(|error| Failure::unreadable(&error))?;
    for (field, name) in std::iter::once(("name", &wish.name))
        .chain(wish.grant.namespaces.iter().map(|n| ("grant.namespaces", n)))
    {
        names::label(name).map_err(|rule| Failure::bad_request(format!("{field}: {name:?}: {rule}")))?;
    }
    let secret = token::random().ok_or_else(|| Failure::unavailable("the system has no random numbers"))?;
    let now = jiff::Timestamp::now();
    let moment = |time: jiff::Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let end = |seconds: u32| now.checked_add(jiff::SignedDuration::from_secs(seconds.into()));
    let expires = wish.expires_seconds.map(end).transpose();
    let expires = expires.map_err(|error| Failure::bad_request(format!("expiresSeconds: {error}")))?;
    let token = Token {
        name: wish.name,
        hash: token::hash(&secret),
        grant: wish.grant,
        created: moment(now),
        expires: expires.map(moment),
    };
    let mut answer = shown(&token);
    let name = token.name.clone();
    let is_new = change(&api, move |tokens| {
        let is_new = !tokens.contains_key(&token.name);
        tokens.entry(token.name.clone()).or_insert(token);
        is_new
    });
    if !is_new.await? {
        return Err(Failure::exists(format!(
            "token {name} exists already; revoke it first, or choose another name"
        )));
    }
    tracing::info!(token = name, "created");
    if let Some(map) = answer.as_object_mut() {
        map.insert("token".into(), json!(secret));
    }
    Ok((StatusCode::CREATED, Json(answer)))
}

pub(super) async fn revoke(State(api): State<Api>, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    let key = name.clone();
    match change(&api, move |tokens| tokens.remove(&key)).await? {
        Some(token) => {
            tracing::info!(token = name, "revoked");
            Ok(Json(shown(&token)))
        }
        None => Err(Failure::not_found(format!("there is no token {name}; see `lb token list`"))),
    }
}

pub(super) async fn listener(State(api): State<Api>) -> Result<Json<Value>, Failure> {
    match &api.endpoint {
        Some(endpoint) => Ok(Json(json!({ "address": endpoint.address, "authority": endpoint.authority }))),
        None => Err(Failure::not_found("the agent listens at no port; set api.listen in its configuration")),
    }
}

/// Everything but the secret.
fn shown(token: &Token) -> Value {
    json!({ "name": token.name, "grant": token.grant, "created": token.created, "expires": token.expires })
}

async fn change<T: Send + 'static>(
    api: &Api,
    change: impl FnOnce(&mut std::collections::BTreeMap<String, Token>) -> T + Send + 'static,
) -> Result<T, Failure> {
    let registry = api.registry.clone();
    // A commit waits for the disk.
    match tokio::task::spawn_blocking(move || registry.change_tokens(change)).await {
        Ok(Ok(given)) => Ok(given),
        Ok(Err(error)) => Err(Failure::unavailable(error.to_string())),
        Err(error) => Err(Failure::unavailable(format!("the request was not finished: {error}"))),
    }
}
