//! Watches: resumed, selected, bookmarked, lost, ended.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use tokio::time::timeout;

use super::*;

const DEADLINE: Duration = Duration::from_mins(1);

/// A watch that is read event by event.
struct Watching {
    body: Incoming,
    text: Vec<u8>,
}

impl Watching {
    async fn start(server: &Server, path: &str) -> Self {
        let request = Request::get(path).header("host", "x").body(Full::new(Bytes::new())).unwrap();
        let response = server.client.exchange(request).await.unwrap();
        assert_eq!(response.status().as_u16(), 200, "{path}");
        Self { body: response.into_body(), text: Vec::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let rest = self.text.split_off(end + 1);
                let line = std::mem::replace(&mut self.text, rest);
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = timeout(DEADLINE, self.body.frame()).await.expect("an event or the end")?;
            self.text.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    }

    /// What happened next, to whom.
    async fn told(&mut self) -> (String, String) {
        let event = self.next().await.unwrap();
        let word =
            |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        (word("/type"), word("/object/metadata/name"))
    }
}

fn pair(happened: &str, name: &str) -> (String, String) {
    (happened.into(), name.into())
}

async fn label(server: &Server, name: &str, value: &str) {
    let patch = json!({"metadata": {"labels": {"app": value}}});
    server.client.patch(&format!("{}/{name}", balancers()), &patch).await.unwrap();
}

#[tokio::test]
async fn a_watch_resumes_where_a_list_or_another_watch_ended() {
    let server = Server::with_pool("resume").await;
    server.client.post(&balancers(), &balancer("a")).await.unwrap();
    let list = server.client.get(&balancers()).await.unwrap();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{}?watch=true&resourceVersion={version}", balancers());
    let mut watch = Watching::start(&server, &path).await;
    server.client.post(&balancers(), &balancer("b")).await.unwrap();
    let added = watch.next().await.unwrap();
    assert_eq!((&added["type"], &added["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("b")));
    drop(watch);
    label(&server, "b", "web").await;
    server.client.delete(&format!("{}/a", balancers())).await.unwrap();
    let version = added["object"]["metadata"]["resourceVersion"].as_str().unwrap();
    let path = format!("{}?watch=true&resourceVersion={version}", balancers());
    let mut watch = Watching::start(&server, &path).await;
    assert_eq!(watch.told().await, pair("MODIFIED", "b"));
    let gone = watch.next().await.unwrap();
    assert_eq!(gone["type"], "DELETED");
    let version =
        |value: &Value| value["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(version(&gone["object"]), version(&server.client.get(&balancers()).await.unwrap()));
    server.stop().await;
}

#[tokio::test]
async fn a_watch_without_a_version_tells_first_what_there_is() {
    let server = Server::with_pool("initial").await;
    server.client.post(&balancers(), &balancer("a")).await.unwrap();
    let mut watch = Watching::start(&server, &format!("{}?watch=1", balancers())).await;
    assert_eq!(watch.told().await, pair("ADDED", "a"));
    let streaming =
        "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut watch = Watching::start(&server, &format!("{}?{streaming}", balancers())).await;
    assert_eq!(watch.told().await, pair("ADDED", "a"));
    let mark = watch.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    server.stop().await;
}

#[tokio::test]
async fn labels_decide_what_appears_in_a_watch_and_disappears_from_it() {
    let server = Server::with_pool("labels").await;
    server.client.post(&balancers(), &balancer("a")).await.unwrap();
    let mut watch =
        Watching::start(&server, &format!("{}?watch=1&labelSelector=app%3Dweb", balancers())).await;
    let fields = "fieldSelector=metadata.name%3Db";
    let mut other = Watching::start(&server, &format!("{}?watch=1&{fields}", balancers())).await;
    label(&server, "a", "web").await;
    label(&server, "a", "db").await;
    label(&server, "a", "web").await;
    for happened in ["ADDED", "DELETED", "ADDED"] {
        assert_eq!(watch.told().await, pair(happened, "a"));
    }
    server.client.post(&balancers(), &balancer("b")).await.unwrap();
    assert_eq!(other.told().await, pair("ADDED", "b"), "nothing of a before");
    server.stop().await;
}

#[tokio::test]
async fn what_is_forgotten_or_not_yet_known_is_gone() {
    let server = Server::with_pool("gone").await;
    for version in ["999", "999999999999"] {
        for path in [
            format!("{}?watch=1&resourceVersion={version}", balancers()),
            format!("{}?resourceVersion={version}", balancers()),
        ] {
            let Err(RequestError::Refused { code, status, .. }) = server.client.get(&path).await else {
                panic!("{path} is answered")
            };
            assert_eq!((code.as_u16(), &status["reason"]), (410, &json!("Expired")));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_watch_ends_at_its_time_out_with_a_bookmark() {
    let server = Server::with_pool("timeout").await;
    let path = format!("{}?watch=1&allowWatchBookmarks=true&timeoutSeconds=1", pools());
    let mut watch = Watching::start(&server, &path).await;
    assert_eq!(watch.told().await, pair("ADDED", "lab"));
    let mark = watch.next().await.unwrap();
    assert_eq!(
        (&mark["type"], &mark["object"]["metadata"]["resourceVersion"]),
        (&json!("BOOKMARK"), &json!("1"))
    );
    assert_eq!(watch.next().await, None);
    server.stop().await;
}

#[tokio::test]
async fn a_watch_for_people_comes_in_tables() {
    let server = Server::with_pool("rows").await;
    let request = Request::get(format!("{}?watch=1", pools()))
        .header("host", "x")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let response = server.client.exchange(request).await.unwrap();
    let mut watch = Watching { body: response.into_body(), text: Vec::new() };
    let event = watch.next().await.unwrap();
    assert_eq!(
        (&event["object"]["kind"], &event["object"]["rows"][0]["cells"][0]),
        (&json!("Table"), &json!("lab"))
    );
    server.stop().await;
}

#[tokio::test]
async fn watches_end_with_the_agent() {
    let server = Server::with_pool("stop").await;
    let mut watch = Watching::start(&server, &format!("{}?watch=1", pools())).await;
    assert_eq!(watch.told().await, pair("ADDED", "lab"));
    server.stop().await;
    assert_eq!(watch.next().await, None);
}
