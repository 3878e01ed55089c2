//! Objects that are edited, with scripts in the place of people.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

const FRONT: &str = "/apis/loadbalancer.harvesterhci.io/v1beta1/namespaces/shop/loadbalancers/front";

async fn with_front(name: &str) -> Server {
    let server = Server::with_pool(name).await;
    lb(&server, &["create", "front", "-n", "shop", "--listener", "web:80:8080"]).await.unwrap();
    server
}

async fn edit(server: &Server, editor: &str) -> Result<String, String> {
    lb(server, &["edit", "lb", "front", "-n", "shop", "--editor", editor]).await
}

async fn front(server: &Server) -> Value {
    server.client.get(FRONT).await.unwrap()
}

/// An editor that keeps what it was shown in the first and the second round, and changes it in ways of each.
fn script(server: &Server, first: &str, second: &str) -> String {
    let directory = server.directory.display();
    let text = format!(
        "#!/bin/sh\nif [ ! -e {directory}/one ]; then cp \"$1\" {directory}/one; {first}\nelse cp \"$1\" \
         {directory}/two; {second}\nfi\n"
    );
    let path = file(server, "editor", &text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

fn shown(server: &Server, round: &str) -> String {
    fs::read_to_string(server.directory.join(round)).unwrap()
}

#[tokio::test]
async fn what_is_edited_is_sent_and_what_is_not_is_not() {
    let server = with_front("cli-edit").await;
    let before = front(&server).await;
    for untouched in ["true", ": >", "sed -i '$ a # a comment'"] {
        assert_eq!(edit(&server, untouched).await.unwrap(), "LoadBalancer shop/front unchanged\n");
    }
    assert_eq!(front(&server).await, before);
    let editor = script(&server, "sed -i 's/port: 80$/port: 81/' \"$1\"", "");
    assert_eq!(edit(&server, &editor).await.unwrap(), "LoadBalancer shop/front configured\n");
    let after = front(&server).await;
    assert_eq!(after["spec"]["listeners"][0]["port"], 81);
    assert_eq!(after["status"]["address"], before["status"]["address"]);
    let text = shown(&server, "one");
    assert!(text.starts_with("#: Change LoadBalancer shop/front") && !text.contains("status"), "{text}");
    let error = edit(&server, "false").await.unwrap_err();
    assert!(error.contains("the editor \"false\" ended with"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_opened_again_with_the_reasons() {
    let server = with_front("cli-again").await;
    let editor = script(
        &server,
        "sed -i -e 's/port: 80$/port: 0/' -e 's/protocol: TCP/protocol: SCTP/' \"$1\"",
        "sed -i -e 's/port: 0$/port: 82/' -e 's/protocol: SCTP/protocol: UDP/' \"$1\"",
    );
    edit(&server, &editor).await.unwrap();
    let text = shown(&server, "two");
    assert!(text.starts_with("#: Not taken: ") && text.contains("\napiVersion: "), "{text}");
    for field in ["spec.listeners[0].port", "spec.listeners[0].protocol"] {
        assert!(text.contains(field), "{text}");
    }
    let listener = &front(&server).await["spec"]["listeners"][0];
    assert_eq!((&listener["port"], &listener["protocol"]), (&json!(82), &json!("UDP")));
    server.stop().await;
}

#[tokio::test]
async fn a_text_that_is_given_up_is_kept() {
    let server = with_front("cli-kept").await;
    let error = edit(&server, "sed -i 's/port: 80$/port: eighty/'").await.unwrap_err();
    assert!(error.contains("spec.listeners[0].port: not an integer"), "{error}");
    let path = error.split("kept in ").nth(1).and_then(|rest| rest.split(": ").next()).unwrap();
    assert!(fs::read_to_string(path).unwrap().contains("port: eighty"));
    fs::remove_file(path).unwrap();
    assert_eq!(front(&server).await["spec"]["listeners"][0]["port"], 80);
    server.stop().await;
}

#[tokio::test]
async fn what_others_change_in_the_meantime_is_shown_before_it_is_undone() {
    let server = with_front("cli-overtaken").await;
    let directory = server.directory.display();
    let wait = format!("while [ ! -e {directory}/go ]; do sleep 0.02; done");
    let editor = script(&server, &format!("{wait}; sed -i 's/port: 80$/port: 83/' \"$1\""), "");
    let others = async {
        until_there(&server.directory.join("one")).await;
        server.client.patch(FRONT, &json!({"spec": {"description": "by others"}})).await.unwrap();
        file(&server, "go", "");
    };
    let (edited, ()) = tokio::join!(edit(&server, &editor), others);
    edited.unwrap();
    let text = shown(&server, "two");
    assert!(text.contains("#: +  description: by others\n") && text.contains("port: 83"), "{text}");
    let spec = &front(&server).await["spec"];
    assert_eq!((&spec["listeners"][0]["port"], spec.get("description")), (&json!(83), None));
    server.stop().await;
}

/// In a process of its own, whose only thread that takes signals is the one that edits.
#[tokio::test]
async fn an_interrupt_in_the_editor_is_the_editors_alone() {
    const ALONE: &str = "LB_TEST_INTERRUPTS";
    if std::env::var_os(ALONE).is_none() {
        let name = "cli::tests::edits::an_interrupt_in_the_editor_is_the_editors_alone";
        let mut command = Command::new(std::env::current_exe().unwrap());
        let ended = command.args(["--exact", name, "--test-threads=1"]).env(ALONE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&ended.stdout);
        assert!(ended.status.success() && text.contains("1 passed"), "{ended:?}");
        return;
    }
    let server = with_front("cli-interrupt").await;
    let editor = "kill -INT $PPID; kill -QUIT $PPID; sed -i 's/port: 80$/port: 81/'";
    assert_eq!(edit(&server, editor).await.unwrap(), "LoadBalancer shop/front configured\n");
    let error = edit(&server, "kill -INT $$; true").await.unwrap_err();
    assert!(error.contains("signal: 2"), "the editor itself may be interrupted: {error}");
    server.stop().await;
}

async fn until_there(path: &Path) {
    let look = async {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), look).await.unwrap();
}
