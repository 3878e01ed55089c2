//! Connections over TLS that last: how long, and for whom.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::access::{Over, Who};
use super::*;

const DEADLINE: Duration = Duration::from_mins(1);

impl Over {
    /// A stream that goes on.
    async fn watch(&self, who: &Who, path: &str) -> Response<Incoming> {
        let stream = self.connect(who).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(path).header("host", "localhost");
        if let Who::Token(token) = who {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = sender.send_request(request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        response
    }
}

/// Everything up to the end.
async fn rest(response: Response<Incoming>) -> String {
    let all = timeout(DEADLINE, response.into_body().collect()).await.expect("an end");
    String::from_utf8(all.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_revoked_token_ends_its_watches_and_nobody_elses() {
    let over = Over::start("revoked", None, &[]).await;
    let client = &over.server.client;
    client.post(&pools(), &pool("lab", "192.0.2.0/24", "192.0.2.80", "192.0.2.89")).await.unwrap();
    let (gone, kept) = (over.token("gone", "viewer", &[]).await, over.token("kept", "viewer", &[]).await);
    let path = format!("{}?watch=1&allowWatchBookmarks=true", pools());
    let (watch, other) = (over.watch(&gone, &path).await, over.watch(&kept, &path).await);
    let events = over.watch(&gone, "/api/v1/namespaces/shop/events?watch=1").await;
    client.delete("/lb/v1/tokens/gone").await.unwrap();
    assert!(rest(watch).await.contains("ADDED"), "what was granted was told");
    assert_eq!(rest(events).await, "");
    let mut other = other.into_body();
    client.patch(&format!("{}/lab", pools()), &json!({"spec": {"description": "more"}})).await.unwrap();
    let mut told = String::new();
    while !told.contains("more") {
        let frame = timeout(DEADLINE, other.frame()).await.expect("an event").expect("no end").unwrap();
        told.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    over.server.stop().await;
}

#[tokio::test]
async fn a_token_that_expires_ends_its_watches() {
    let over = Over::start("expires", None, &[]).await;
    let wish = json!({"name": "short", "grant": {"role": "viewer"}, "expiresSeconds": 10});
    let answer = over.server.client.post("/lb/v1/tokens", &wish).await.unwrap();
    let short = Who::Token(answer["token"].as_str().unwrap().to_owned());
    let watch = over.watch(&short, &format!("{}?watch=1", pools())).await;
    assert_eq!(rest(watch).await, "");
    over.server.stop().await;
}

#[tokio::test]
async fn a_token_that_is_given_anew_with_less_ends_what_it_no_longer_grants() {
    let over = Over::start("narrowed", None, &[]).await;
    let viewer = over.token("viewer", "viewer", &[]).await;
    let everywhere = over.watch(&viewer, &format!("{GROUP}/loadbalancers?watch=1")).await;
    let registry = Arc::clone(&over.server.registry);
    let narrow = move || {
        registry.change_tokens(|tokens| {
            tokens.get_mut("viewer").unwrap().grant.namespaces = ["shop".to_owned()].into();
        })
    };
    tokio::task::spawn_blocking(narrow).await.unwrap().unwrap();
    assert_eq!(rest(everywhere).await, "");
    over.watch(&viewer, &format!("{}?watch=1&timeoutSeconds=1", balancers())).await;
    over.server.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let over = Over::start_with_idle("idle", Duration::from_secs(2)).await;
    let viewer = over.token("viewer", "viewer", &[]).await;
    let mut silent = over.connect(&Who::Nobody).await.unwrap();
    let end = timeout(DEADLINE, silent.read(&mut [0; 1])).await.expect("an end");
    // Some stacks call it the end, some a connection that was reset.
    assert!(!matches!(end, Ok(1..)), "{end:?}");
    let watch = over.watch(&viewer, &format!("{}?watch=1&timeoutSeconds=4", pools())).await;
    assert_eq!(rest(watch).await, "", "an answer that lasts is no silence");
    over.server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_as_kubernetes_does() {
    let server = Server::start("long").await;
    let mut object = balancer("front");
    object["spec"]["description"] = "x".repeat(4 << 20).into();
    let Err(RequestError::Refused { code, status, .. }) = server.client.post(&balancers(), &object).await
    else {
        panic!("accepted")
    };
    assert_eq!((code.as_u16(), &status["reason"]), (413, &json!("RequestEntityTooLarge")));
    server.stop().await;
}
