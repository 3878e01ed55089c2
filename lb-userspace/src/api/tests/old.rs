//! Clients of v1alpha1.

use std::sync::atomic::{AtomicBool, Ordering};

use hyper::Method;

use super::kubernetes::{APPLY, JSON, MERGE, ask, delete};
use super::*;
use crate::control::admission::{Intent, Patch, Reference};
use crate::control::registry::Submission;
use crate::model::meta::NamespacedName;

const PATH: &str = "/apis/loadbalancer.harvesterhci.io/v1alpha1/namespaces/shop/loadbalancers";

fn old_balancer(name: &str) -> Value {
    let mut object = balancer(name);
    object["apiVersion"] = "loadbalancer.harvesterhci.io/v1alpha1".into();
    object["spec"].as_object_mut().unwrap().remove("backendServerSelector");
    object["spec"]["backendServers"] = json!(["192.0.2.11"]);
    object
}

#[tokio::test]
async fn v1alpha1_is_converted_both_ways_whatever_is_missing() {
    let server = Server::with_pool("alpha").await;
    let path = PATH;
    let mut object = old_balancer("old");
    object["spec"]["backendServers"] = json!(["192.0.2.11", "192.0.2.99"]);
    object["spec"]["healthCheck"] = json!({"port": 8080, "PeriodSeconds": 7});
    let (code, created, warning) = ask(&server, Method::POST, path, JSON, &object).await;
    assert_eq!((code, &created["apiVersion"]), (201, &object["apiVersion"]), "{created}");
    assert!(warning.contains("192.0.2.99 belongs to no VM"), "{warning}");
    let new = server.client.get(&format!("{}/old", balancers())).await.unwrap();
    assert_eq!(new["spec"]["backendServerSelector"], json!({"harvesterhci.io/vmName": ["web-1"]}));
    assert_eq!(new["spec"]["healthCheck"]["periodSeconds"], 7);
    let one = format!("{path}/old");
    let (code, patched, _) =
        ask(&server, Method::PATCH, &one, MERGE, &json!({"spec": {"description": "x"}})).await;
    assert_eq!((code, &patched["spec"]["description"]), (200, &json!("x")));
    let new = server.client.get(&format!("{}/old", balancers())).await.unwrap();
    assert_eq!(
        new["spec"]["backendServerSelector"],
        json!({"harvesterhci.io/vmName": ["web-1"]}),
        "it is kept"
    );
    assert_eq!(server.client.get(path).await.unwrap()["items"][0]["spec"]["healthCheck"]["PeriodSeconds"], 7);
    let empty = json!({"apiVersion": "loadbalancer.harvesterhci.io/v1alpha1", "kind": "LoadBalancer", "metadata": {"name": "e"}});
    assert_eq!(ask(&server, Method::POST, path, JSON, &empty).await.0, 422);
    server.stop().await;
}

/// A server on which somebody else writes `spec.selection`, which old clients can't see, between the reading and
/// the storing of the next object that is converted.
async fn with_a_faster_writer(name: &str) -> (Server, Arc<AtomicBool>) {
    let armed = Arc::new(AtomicBool::new(false));
    let fires = Arc::clone(&armed);
    let server = Server::start_with(name, |registry| {
        let registry = Arc::clone(registry);
        Arc::new(move |_, _| {
            if fires.swap(false, Ordering::SeqCst) {
                let reference = Reference::LoadBalancer(NamespacedName::new("shop", "old"));
                let patch = Patch::Merge(json!({"spec": {"selection": "Random"}}));
                let intents = [Intent::Patch(reference, patch)];
                registry
                    .submit(&Submission { intents: &intents, manager: "faster", dry_run: false })
                    .unwrap();
            }
            Some("web-1".to_owned())
        })
    })
    .await;
    server.client.post(&pools(), &pool("lab", "192.0.2.0/24", "192.0.2.80", "192.0.2.81")).await.unwrap();
    (server, armed)
}

#[tokio::test]
async fn a_write_of_v1alpha1_undoes_no_other_writers() {
    let (server, race) = with_a_faster_writer("alpha-race").await;
    let (one, new) = (format!("{PATH}/old"), format!("{}/old", balancers()));
    let (code, seen, _) = ask(&server, Method::POST, PATH, JSON, &old_balancer("old")).await;
    assert_eq!(code, 201, "{seen}");
    let mut put = old_balancer("old");
    put["spec"]["description"] = "put".into();
    let changes = json!({"spec": {"description": "patched", "backendServers": ["192.0.2.11"]}});
    let apply = old_balancer("old");
    for (method, kind, body) in
        [(Method::PUT, JSON, &put), (Method::PATCH, MERGE, &changes), (Method::PATCH, APPLY, &apply)]
    {
        server.client.patch(&new, &json!({"spec": {"selection": "Maglev"}})).await.unwrap();
        race.store(true, Ordering::SeqCst);
        let path = format!("{one}?force=true");
        let (code, answer, _) = ask(&server, method.clone(), &path, kind, body).await;
        assert_eq!((code, race.load(Ordering::SeqCst)), (200, false), "{method}: {answer}");
        let stored = server.client.get(&new).await.unwrap();
        assert_eq!(stored["spec"]["selection"], "Random", "{method} {kind:?}: {stored}");
        let wanted = body["spec"].get("description");
        assert!(wanted.is_none_or(|wanted| stored["spec"]["description"] == *wanted), "{stored}");
    }
    put["metadata"]["resourceVersion"] = seen["metadata"]["resourceVersion"].clone();
    let (code, status, _) = ask(&server, Method::PUT, &one, JSON, &put).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")), "who says what it read is told");
    server.stop().await;
}

#[tokio::test]
async fn v1alpha1_is_applied_on_the_server_where_its_servers_are_all_that_is_selected() {
    let server = Server::with_pool("alpha-apply").await;
    let one = format!("{PATH}/old?fieldManager=one");
    let apply = async |body: &Value| ask(&server, Method::PATCH, &one, APPLY, body).await;
    let (code, created, _) = apply(&old_balancer("old")).await;
    assert_eq!(
        (code, &created["apiVersion"]),
        (201, &json!("loadbalancer.harvesterhci.io/v1alpha1")),
        "{created}"
    );
    let new = format!("{}/old", balancers());
    let named = json!({"harvesterhci.io/vmName": ["web-1"]});
    assert_eq!(server.client.get(&new).await.unwrap()["spec"]["backendServerSelector"], named);
    let (code, again, _) = apply(&old_balancer("old")).await;
    assert_eq!((code, &again), (200, &created), "the same again is no write");
    server.client.patch(&new, &json!({"spec": {"backendServerSelector": {"app": ["web"]}}})).await.unwrap();
    let (code, status, _) = apply(&old_balancer("old")).await;
    assert_eq!((code, status["message"].as_str().unwrap().contains("other labels")), (400, true), "{status}");
    let mut partial = old_balancer("old");
    partial["spec"] = json!({"description": "x", "listeners": partial["spec"]["listeners"]});
    assert_eq!(apply(&partial).await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_deleted_collection_is_told_in_the_version_that_asks() {
    let server = Server::with_pool("alpha-delete").await;
    ask(&server, Method::POST, PATH, JSON, &old_balancer("old")).await;
    let (code, list) = delete(&server, PATH, &Value::Null).await;
    assert_eq!(
        (code, &list["items"][0]["apiVersion"]),
        (200, &json!("loadbalancer.harvesterhci.io/v1alpha1"))
    );
    assert!(list["items"][0]["spec"].get("backendServerSelector").is_none(), "{list}");
    server.stop().await;
}

#[tokio::test]
async fn whoever_uses_v1alpha1_is_told_that_it_is_deprecated() {
    let server = Server::with_pool("alpha-warned").await;
    let warning = "299 - \"loadbalancer.harvesterhci.io/v1alpha1 LoadBalancer is deprecated; use \
                   loadbalancer.harvesterhci.io/v1beta1 LoadBalancer\"";
    let one = format!("{PATH}/old");
    let (code, _, told) = ask(&server, Method::POST, PATH, JSON, &old_balancer("old")).await;
    assert_eq!((code, told.as_str()), (201, warning));
    let (code, _, told) = ask(&server, Method::PATCH, &one, MERGE, &json!({"spec": {"wrong": 1}})).await;
    assert_eq!((code, told.as_str()), (422, warning));
    let path = format!("{PATH}?watch=1&timeoutSeconds=0");
    for (method, path) in [(Method::GET, PATH), (Method::GET, &path), (Method::DELETE, &one)] {
        assert_eq!(ask(&server, method, path, JSON, &Value::Null).await.2, warning, "{path}");
    }
    assert_eq!(ask(&server, Method::GET, &balancers(), JSON, &Value::Null).await.2, "");
    server.stop().await;
}

#[tokio::test]
async fn a6_an_object_of_v1alpha1_gets_the_address_that_it_had_from_its_pool() {
    let server = Server::start("alpha-pool").await;
    let named = |name: &str, first: &str, last: &str, priority: i64| {
        let mut pool = pool(name, "192.168.0.0/24", first, last);
        pool["spec"]["selector"]["scope"][0]["namespace"] = "shop".into();
        pool["spec"]["selector"]["priority"] = priority.into();
        pool
    };
    let mut pool1 = named("pool1", "192.168.0.90", "192.168.0.110", 1);
    pool1["status"] = json!({"total": 21, "available": 20, "lastAllocated": "192.168.0.100",
        "allocated": {"192.168.0.100": "shop/lb1"}});
    server.client.post(&pools(), &pool1).await.unwrap();
    server.client.post(&pools(), &named("pool2", "192.168.0.120", "192.168.0.130", 2)).await.unwrap();
    let mut object = old_balancer("lb1");
    object["status"] =
        json!({"address": "192.168.0.100", "conditions": [{"type": "Ready", "status": "True"}]});
    let (code, seen, _) = ask(&server, Method::POST, PATH, JSON, &object).await;
    assert_eq!(code, 201, "{seen}");
    assert_eq!((&seen["spec"]["backendServers"], seen["spec"].get("ipPool")), (&json!([]), None), "{seen}");
    let new = server.client.get(&format!("{}/lb1", balancers())).await.unwrap();
    let allocated = &new["status"]["allocatedAddress"];
    assert_eq!((&new["spec"]["ipPool"], &allocated["ipPool"]), (&json!("pool1"), &json!("pool1")), "{new}");
    assert_eq!(
        (&allocated["ip"], &new["status"]["address"]),
        (&json!("192.168.0.100"), &json!("192.168.0.100"))
    );
    object["metadata"]["name"] = "lb2".into();
    let (code, _, warning) = ask(&server, Method::POST, PATH, JSON, &object).await;
    assert_eq!((code, warning.contains("no pool has given 192.168.0.100")), (201, true), "{warning}");
    server.stop().await;
}

/// A server with pool lab for shop, which gave 192.0.2.80 to lb1 before, and how it is applied as an old client has it.
async fn with_history(name: &str) -> (Server, Value) {
    let server = Server::start(name).await;
    let mut lab = pool("lab", "192.0.2.0/24", "192.0.2.80", "192.0.2.81");
    lab["spec"]["selector"]["scope"][0]["namespace"] = "shop".into();
    lab["status"] = json!({"total": 2, "available": 2, "allocatedHistory": {"192.0.2.80": "shop/lb1"}});
    server.client.post(&pools(), &lab).await.unwrap();
    let mut object = old_balancer("lb1");
    object["status"] = json!({"address": "192.0.2.80"});
    (server, object)
}

#[tokio::test]
async fn v1alpha1_applied_over_an_object_that_exists_names_no_pool() {
    let (server, object) = with_history("alpha-exists").await;
    let new = format!("{}/lb1", balancers());
    assert_eq!(ask(&server, Method::POST, PATH, JSON, &old_balancer("lb1")).await.0, 201);
    let one = format!("{PATH}/lb1?fieldManager=one&force=true");
    for address in ["192.0.2.80", "192.0.2.99"] {
        let mut object = object.clone();
        object["status"]["address"] = address.into();
        let (code, answer, warning) = ask(&server, Method::PATCH, &one, APPLY, &object).await;
        assert_eq!((code, warning.contains("no pool has given")), (200, false), "{answer} {warning}");
        let stored = server.client.get(&new).await.unwrap();
        assert_eq!(stored["spec"]["ipPool"], "", "{stored}");
        let managed = stored["metadata"]["managedFields"].as_array().unwrap();
        let applied = managed.iter().find(|entry| entry["manager"] == "one").unwrap();
        assert!(!applied["fieldsV1"].to_string().contains("f:ipPool"), "{applied}");
    }
    server.stop().await;
}

#[tokio::test]
async fn v1alpha1_applied_again_keeps_the_pool_that_it_was_created_with() {
    let (server, object) = with_history("alpha-again").await;
    let one = format!("{PATH}/lb1?fieldManager=one");
    let (code, created, _) = ask(&server, Method::PATCH, &one, APPLY, &object).await;
    assert_eq!(code, 201, "{created}");
    let (code, again, _) = ask(&server, Method::PATCH, &one, APPLY, &object).await;
    assert_eq!((code, &again), (200, &created), "the same again is no write");
    let stored = server.client.get(&format!("{}/lb1", balancers())).await.unwrap();
    assert_eq!(
        (&stored["spec"]["ipPool"], &stored["status"]["address"]),
        (&json!("lab"), &json!("192.0.2.80"))
    );
    server.stop().await;
}

#[tokio::test]
async fn v1alpha1_names_no_pool_that_is_about_to_go_or_not_open_any_more() {
    let (server, object) = with_history("alpha-closed").await;
    let lab = format!("{}/lab", pools());
    let refused_nowhere = async |why: &str| {
        let (code, answer, warning) = ask(&server, Method::POST, PATH, JSON, &object).await;
        assert_eq!((code, warning.contains("no pool has given 192.0.2.80")), (201, true), "{why}: {answer}");
        let new = format!("{}/lb1", balancers());
        assert_eq!(server.client.get(&new).await.unwrap()["spec"]["ipPool"], "", "{why}");
        server.client.delete(&new).await.unwrap();
    };
    let others = json!([{"project": "*", "namespace": "bank", "guestCluster": "*"}]);
    server.client.patch(&lab, &json!({"spec": {"selector": {"scope": others}}})).await.unwrap();
    refused_nowhere("another's").await;
    let shops = json!([{"project": "*", "namespace": "shop", "guestCluster": "*"}]);
    let held =
        json!({"metadata": {"finalizers": ["example.com/waits"]}, "spec": {"selector": {"scope": shops}}});
    server.client.patch(&lab, &held).await.unwrap();
    server.client.delete(&lab).await.unwrap();
    refused_nowhere("about to go").await;
    server.stop().await;
}
