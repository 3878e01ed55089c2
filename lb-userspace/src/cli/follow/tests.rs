use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::api::tests::Server;

/// What is shown of the load balancers of a server of this name, whichever it is.
fn following(client: &Client) -> mpsc::UnboundedReceiver<String> {
    let (sender, shown) = mpsc::unbounded_channel();
    let client = client.clone();
    let outages = sender.clone();
    tokio::spawn(async move {
        let path = format!("{}?", super::super::path::load_balancers(None));
        let show = |changes: Vec<Change>| {
            let mut is_read = true;
            for Change { happened, object } in changes {
                let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap();
                is_read &= sender.send(format!("{happened} {name}")).is_ok();
            }
            Ok(is_read)
        };
        changes(&client, &path, show, || drop(outages.send("an outage".to_owned()))).await
    });
    shown
}

async fn create(server: &Server, name: &str) {
    let object = json!({
        "apiVersion": "loadbalancer.harvesterhci.io/v1beta1", "kind": "LoadBalancer", "metadata": {"name": name},
        "spec": {"listeners": [{"port": 80, "protocol": "TCP", "backendPort": 8080}]},
    });
    server.client.post(&super::super::path::load_balancers(Some("shop")), &object).await.unwrap();
}

#[tokio::test]
async fn what_was_missed_while_the_agent_was_gone_is_found_by_a_list() {
    let server = Server::with_pool("cli-follow").await;
    create(&server, "a").await;
    let mut shown = following(&server.client);
    assert_eq!(shown.recv().await.unwrap(), "ADDED a");
    create(&server, "b").await;
    assert_eq!(shown.recv().await.unwrap(), "ADDED b");
    server.stop().await;
    // This one has another store, whose revisions are older.
    let server = Server::start("cli-follow").await;
    create(&server, "c").await;
    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(shown.recv().await.unwrap());
        told.retain(|text| text != "an outage");
    }
    told.sort_unstable();
    assert_eq!(told, ["ADDED c", "DELETED a", "DELETED b"]);
    create(&server, "d").await;
    assert_eq!(shown.recv().await.unwrap(), "ADDED d");
    server.stop().await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_at_the_beginning_is_not_waited_for() {
    let client = Client::new(std::path::Path::new("/nonexistent/lb.sock"));
    let error = changes(&client, "/x?", |_| Ok(true), || ()).await.unwrap_err();
    assert!(error.to_string().starts_with("no agent answers at /nonexistent/lb.sock"), "{error}");
}

/// A way to a server that breaks off when it is cut, as if the agent had been killed.
struct Wire(JoinHandle<()>);

impl Wire {
    /// From this socket to that one.
    fn lay(from: &Path, to: PathBuf) -> Self {
        let listener = UnixListener::bind(from).unwrap();
        Self(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = UnixStream::connect(&to).await.unwrap();
                connections.spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        }))
    }

    async fn cut(self, from: &Path) {
        std::fs::remove_file(from).unwrap();
        self.0.abort();
        assert!(self.0.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test]
async fn each_outage_is_told_once() {
    let server = Server::with_pool("cli-follow-outages").await;
    let (from, to) = (server.directory.join("wire.sock"), server.directory.join("lb.sock"));
    let mut wire = Wire::lay(&from, to.clone());
    create(&server, "a").await;
    let mut shown = following(&Client::new(&from));
    assert_eq!(shown.recv().await.unwrap(), "ADDED a");
    for name in ["b", "c"] {
        wire.cut(&from).await;
        assert_eq!(shown.recv().await.unwrap(), "an outage");
        create(&server, name).await;
        wire = Wire::lay(&from, to.clone());
        // What comes next is no second word of the same outage.
        assert_eq!(shown.recv().await.unwrap(), format!("ADDED {name}"));
    }
    wire.cut(&from).await;
    server.stop().await;
}
