//! What stock clients of Kubernetes rely on.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};

use super::*;

/// A request as a client of Kubernetes sends it; the answer with its code and its `Warning`s.
pub(super) async fn ask(
    server: &Server,
    method: Method,
    path: &str,
    (content_type, accept): (&str, &str),
    body: &Value,
) -> (u16, Value, String) {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "localhost")
        .header("content-type", content_type)
        .header("accept", accept)
        .header("user-agent", "kubectl/v1.37.1 (linux/amd64)")
        .body(Full::new(Bytes::from(text)))
        .unwrap();
    let response = server.client.exchange(request).await.unwrap();
    let code = response.status().as_u16();
    let warnings = response.headers().get_all("warning").iter().map(|text| text.to_str().unwrap());
    let warnings = warnings.collect::<Vec<_>>().join(", ");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap(), warnings)
}

pub(super) const JSON: (&str, &str) = ("application/json", "application/json");
pub(super) const MERGE: (&str, &str) = ("application/merge-patch+json", "application/json");
pub(super) const JSON_PATCH: (&str, &str) = ("application/json-patch+json", "application/json");
pub(super) const APPLY: (&str, &str) = ("application/apply-patch+yaml", "application/json");

pub(super) async fn delete(server: &Server, path: &str, options: &Value) -> (u16, Value) {
    let (code, answer, _) = ask(server, Method::DELETE, path, JSON, options).await;
    (code, answer)
}

#[tokio::test]
async fn discovery_names_groups_versions_and_short_names() {
    let server = Server::start("discovery").await;
    for path in ["/version", "/api", "/apis", "/apis/loadbalancer.harvesterhci.io", GROUP] {
        insta::assert_json_snapshot!(path.replace('/', "_"), server.client.get(path).await.unwrap());
    }
    server.stop().await;
}

#[tokio::test]
async fn tables_are_for_people_and_metadata_for_controllers() {
    let server = Server::with_pool("table").await;
    server.client.post(&balancers(), &balancer("front")).await.unwrap();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, table, _) = ask(&server, Method::GET, &balancers(), ("", accept), &Value::Null).await;
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"][0]["cells"][4], "192.0.2.80");
    let (_, pool, _) =
        ask(&server, Method::GET, &format!("{}/lab", pools()), ("", accept), &Value::Null).await;
    assert_eq!(pool["rows"][0]["cells"][2], "192.0.2.80-192.0.2.81");
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let (_, list, _) = ask(&server, Method::GET, &balancers(), ("", accept), &Value::Null).await;
    assert_eq!(list["items"][0]["metadata"]["name"], "front");
    assert_eq!(list["items"][0].get("spec"), None);
    server.stop().await;
}

#[tokio::test]
async fn patches_of_three_kinds_are_understood_and_others_refused() {
    let server = Server::with_pool("patches").await;
    let path = format!("{}/front", balancers());
    server.client.post(&balancers(), &balancer("front")).await.unwrap();
    let change = async |kind, body: Value| ask(&server, Method::PATCH, &path, kind, &body).await;
    let (code, answer, _) = change(MERGE, json!({"spec": {"description": "merged"}})).await;
    assert_eq!((code, &answer["spec"]["description"]), (200, &json!("merged")));
    let operation = json!([{"op": "replace", "path": "/spec/description", "value": "replaced"}]);
    let (code, answer, _) = change(JSON_PATCH, operation).await;
    assert_eq!((code, &answer["spec"]["description"]), (200, &json!("replaced")));
    let (code, answer, _) = change(JSON_PATCH, json!([{"op": "remove", "path": "/spec/nothing"}])).await;
    assert_eq!((code, &answer["details"]["causes"][0]["field"]), (422, &json!("/spec/nothing")));
    let strategic = ("application/strategic-merge-patch+json", "application/json");
    assert_eq!(change(strategic, json!({})).await.0, 415);
    server.stop().await;
}

#[tokio::test]
async fn server_side_apply_creates_conflicts_and_forces() {
    let server = Server::with_pool("ssa").await;
    let manager = |name: &str| format!("{}/front?fieldManager={name}", balancers());
    let apply = async |path: String, body: &Value| ask(&server, Method::PATCH, &path, APPLY, body).await;
    let mut manifest = balancer("front");
    let (code, created, _) = apply(manager("one"), &manifest).await;
    assert_eq!((code, &created["status"]["address"]), (201, &json!("192.0.2.80")));
    let (code, again, _) = apply(manager("one"), &manifest).await;
    assert_eq!((code, &again), (200, &created), "the same again is no write");

    manifest["spec"]["listeners"][0]["backendPort"] = 9090.into();
    let (code, status, _) = apply(manager("two"), &manifest).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")), "{status}");
    let cause = &status["details"]["causes"][0];
    assert_eq!(
        (&cause["reason"], &cause["field"]),
        (&json!("FieldManagerConflict"), &json!(".spec.listeners"))
    );
    let (code, forced, _) = apply(manager("two") + "&force=true", &manifest).await;
    assert_eq!((code, &forced["spec"]["listeners"][0]["backendPort"]), (200, &json!(9090)));

    manifest["metadata"]["managedFields"] = json!([{"manager": "x"}]);
    assert_eq!(apply(manager("two"), &manifest).await.0, 400);
    server.stop().await;
}

#[tokio::test]
async fn writers_are_named_by_parameter_or_agent() {
    let server = Server::with_pool("managers").await;
    let path = format!("{}?fieldManager=kubectl-create", balancers());
    let (_, created, _) = ask(&server, Method::POST, &path, JSON, &balancer("front")).await;
    assert_eq!(created["metadata"]["managedFields"][0]["manager"], "kubectl-create");
    let path = format!("{}/front", balancers());
    let (_, patched, _) =
        ask(&server, Method::PATCH, &path, MERGE, &json!({"metadata": {"labels": {"a": "b"}}})).await;
    let owner = &patched["metadata"]["managedFields"][1];
    assert_eq!((&owner["manager"], &owner["operation"]), (&json!("kubectl"), &json!("Update")));
    assert_eq!(owner["fieldsV1"], json!({"f:metadata": {"f:labels": {"f:a": {}}}}));
    server.stop().await;
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_dropped() {
    let server = Server::with_pool("unknown").await;
    let mut object = balancer("front");
    object["spec"]["lissteners"] = json!([]);
    for (validation, expected, warned) in
        [("Strict", 422, false), ("Warn", 201, true), ("Ignore", 201, false)]
    {
        let path = format!("{}?dryRun=All&fieldValidation={validation}", balancers());
        let (code, answer, warning) = ask(&server, Method::POST, &path, JSON, &object).await;
        assert_eq!((code, warning.contains("spec.lissteners")), (expected, warned), "{answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_dry_run_changes_nothing_whatever_the_verb() {
    let server = Server::with_pool("dry").await;
    server.client.post(&balancers(), &balancer("front")).await.unwrap();
    let before = server.client.get(&balancers()).await.unwrap();
    let front = format!("{}/front?dryRun=All", balancers());
    assert_eq!(
        ask(&server, Method::POST, &format!("{}?dryRun=All", balancers()), JSON, &balancer("b")).await.0,
        201
    );
    assert_eq!(
        ask(&server, Method::PATCH, &front, MERGE, &json!({"spec": {"description": "x"}})).await.0,
        200
    );
    assert_eq!(delete(&server, &front, &Value::Null).await.0, 200);
    let options = json!({"dryRun": ["All"]});
    assert_eq!(delete(&server, &format!("{}/front", balancers()), &options).await.0, 200);
    assert_eq!(delete(&server, &format!("{}?dryRun=All", balancers()), &Value::Null).await.0, 200);
    assert_eq!(server.client.get(&balancers()).await.unwrap(), before);
    server.stop().await;
}

#[tokio::test]
async fn a_deletion_answers_with_the_uid_and_keeps_to_its_preconditions() {
    let server = Server::with_pool("preconditions").await;
    let path = format!("{}/front", balancers());
    let created = server.client.post(&balancers(), &balancer("front")).await.unwrap();
    let uid = &created["metadata"]["uid"];
    for wrong in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let (code, status) = delete(&server, &path, &json!({"preconditions": wrong})).await;
        assert_eq!((code, &status["reason"]), (409, &json!("Conflict")), "{status}");
    }
    let options = json!({"propagationPolicy": "Background", "preconditions": {"uid": uid}});
    let (code, status) = delete(&server, &path, &options).await;
    assert_eq!((code, &status["status"], &status["details"]["uid"]), (200, &json!("Success"), uid));
    server.stop().await;
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let server = Server::with_pool("finalizers").await;
    let path = format!("{}/front", balancers());
    let mut object = balancer("front");
    let harvesters = "wrangler.cattle.io/harvester-lb-controller";
    object["metadata"]["finalizers"] = json!(["example.org/wait", harvesters]);
    let created = server.client.post(&balancers(), &object).await.unwrap();
    assert_eq!(
        created["metadata"]["finalizers"],
        json!(["example.org/wait"]),
        "Harvester's own is nobody's here"
    );
    let (code, marked) = delete(&server, &path, &Value::Null).await;
    assert_eq!((code, marked["metadata"]["deletionTimestamp"].is_string()), (200, true));
    assert_eq!(marked["status"]["address"], "192.0.2.80", "it serves until it is gone");
    let more = json!({"metadata": {"finalizers": ["example.org/wait", "example.org/more"]}});
    let (_, kept, _) = ask(&server, Method::PATCH, &path, MERGE, &more).await;
    assert_eq!(kept["metadata"]["finalizers"], json!(["example.org/wait"]));
    ask(&server, Method::PATCH, &path, MERGE, &json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(refusal(server.client.get(&path).await).0, 404);
    let pool = server.client.get(&format!("{}/lab", pools())).await.unwrap();
    assert_eq!(pool["status"]["available"], 2);
    server.stop().await;
}

#[tokio::test]
async fn names_are_generated_and_collections_deleted_by_label() {
    let server = Server::with_pool("generate").await;
    let mut object = balancer("");
    object["metadata"] = json!({"generateName": "web-", "labels": {"app": "web"}});
    for _ in 0..2 {
        let created = server.client.post(&balancers(), &object).await.unwrap();
        let name = created["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    }
    server.client.post(&balancers(), &balancer("other")).await.unwrap();
    let (code, list) =
        delete(&server, &format!("{}?labelSelector=app%3Dweb", balancers()), &Value::Null).await;
    assert_eq!((code, list["items"].as_array().unwrap().len()), (200, 2));
    let left = server.client.get(&balancers()).await.unwrap();
    assert_eq!(
        (left["items"].as_array().unwrap().len(), &left["items"][0]["metadata"]["name"]),
        (1, &json!("other"))
    );
    server.stop().await;
}

#[tokio::test]
async fn a_collection_is_deleted_although_others_delete_of_it() {
    let server = Server::start("delete-race").await;
    server.client.post(&pools(), &pool("lab", "192.0.2.0/24", "192.0.2.80", "192.0.2.119")).await.unwrap();
    for n in 0..20 {
        server.client.post(&balancers(), &balancer(&format!("lb-{n}"))).await.unwrap();
    }
    let one_by_one = async {
        // Fewer than the attempts of the one that deletes them all.
        for n in 0..6 {
            // Gone already is as good.
            drop(server.client.delete(&format!("{}/lb-{n}", balancers())).await);
        }
    };
    let path = balancers();
    let ((), (code, list)) = tokio::join!(one_by_one, delete(&server, &path, &Value::Null));
    assert_eq!((code, &list["kind"]), (200, &json!("LoadBalancerList")), "{list}");
    assert_eq!(server.client.get(&balancers()).await.unwrap()["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn an_empty_pool_is_read_as_it_is_written() {
    let server = Server::with_pool("empty-pool").await;
    let mut object = balancer("front");
    object["spec"]["ipPool"] = "".into();
    let created = server.client.post(&balancers(), &object).await.unwrap();
    assert_eq!(created["spec"]["ipPool"], "", "kubectl takes what is left out for changed");
    let owned = created["metadata"]["managedFields"].to_string();
    assert!(!owned.contains("ipPool"), "who wishes for any pool is in nobody's way: {owned}");
    server.stop().await;
}

#[tokio::test]
async fn yaml_is_read_and_other_forms_are_refused() {
    let server = Server::with_pool("yaml").await;
    let send = async |content_type, text: &str| {
        let body = Full::new(Bytes::from(text.to_owned()));
        let request = Request::post(balancers()).header("host", "x").header("content-type", content_type);
        server.client.exchange(request.body(body).unwrap()).await.unwrap().status().as_u16()
    };
    let yaml = "apiVersion: loadbalancer.harvesterhci.io/v1beta1\nkind: LoadBalancer\nmetadata: {name: front}\n\
                spec:\n  listeners: [{port: 80, protocol: TCP, backendPort: 8080}]\n";
    assert_eq!(send("application/yaml", yaml).await, 201);
    assert_eq!(send("application/vnd.kubernetes.protobuf", "k8s").await, 415);
    assert_eq!(send("application/json", "{").await, 400);
    server.stop().await;
}

#[tokio::test]
async fn events_tell_of_a_load_balancer_and_are_found_by_it() {
    let server = Server::with_pool("events").await;
    let front = server.client.post(&balancers(), &balancer("front")).await.unwrap();
    server.client.post(&balancers(), &balancer("other")).await.unwrap();
    let uid = front["metadata"]["uid"].as_str().unwrap();
    let selector =
        format!("involvedObject.kind%3DLoadBalancer,involvedObject.name%3Dfront,involvedObject.uid%3D{uid}");
    let path = format!("/api/v1/namespaces/shop/events?fieldSelector={selector}");
    let list = server.client.get(&path).await.unwrap();
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{list}");
    assert_eq!(
        (&items[0]["reason"], &items[0]["message"]),
        (&json!("AddressAssigned"), &json!("address 192.0.2.80 of pool lab"))
    );
    let name = items[0]["metadata"]["name"].as_str().unwrap();
    assert_eq!(server.client.get(&format!("/api/v1/namespaces/shop/events/{name}")).await.unwrap(), items[0]);
    assert_eq!(refusal(server.client.get("/api/v1/namespaces/bank/events/x").await).0, 404);
    assert_eq!(refusal(server.client.post("/api/v1/namespaces/shop/events", &json!({})).await).0, 405);
    server.client.post(&balancers(), &balancer("third")).await.unwrap();
    let warning = server.client.get("/api/v1/events?fieldSelector=type%3DWarning").await.unwrap();
    assert_eq!(warning["items"][0]["reason"], "PoolExhausted");
    server.stop().await;
}
