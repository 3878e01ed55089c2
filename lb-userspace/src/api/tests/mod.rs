//! Real HTTP over a Unix socket, on a registry in memory.

mod access;
mod connections;
mod kubernetes;
mod old;
mod watches;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::cli::client::{Client, RequestError};
use crate::datapath::Datapath as _;
use crate::datapath::observe::memory::MemoryPackets;
use crate::store::MemoryStore;
use crate::supervise::Supervisor;

const GROUP: &str = "/apis/loadbalancer.harvesterhci.io/v1beta1";

/// An API that lives as long as this value.
pub(crate) struct Server {
    api: Api,
    registry: Arc<Registry>,
    pub(crate) client: Client,
    supervisor: Supervisor,
    pub(crate) directory: PathBuf,
}

impl Server {
    pub(crate) async fn start(name: &str) -> Self {
        let web_1 = |address: &str| (address == "192.0.2.11").then(|| "web-1".to_owned());
        Self::start_with(name, |_| Arc::new(move |_, address| web_1(address))).await
    }

    /// With something that names VMs: it is asked while an object of an old version is converted.
    async fn start_with(name: &str, vm_names: impl FnOnce(&Arc<Registry>) -> VmNames) -> Self {
        let directory = std::env::temp_dir().join(format!("lb-api-{name}-{}", std::process::id()));
        let path = directory.join("lb.sock");
        let registry = Arc::new(Registry::open(Box::new(MemoryStore::default())).unwrap());
        let (reports, _) = ReportRequests::channel();
        let (listener, socket) = socket::bind(&path, None).await.unwrap();
        let observer = Observer::new(Arc::new(MemoryPackets::default()));
        let flows = crate::datapath::memory::Memory::default().flow_table();
        let api = Api::new(Arc::clone(&registry), reports, Lister::new(flows), observer)
            .with_vm_names(vm_names(&registry));
        let mut supervisor = Supervisor::default();
        let served = api.clone();
        supervisor.start("api", |stop| async move {
            let _socket = socket;
            Ok(served.serve(listener, stop).await?)
        });
        Self { api, registry, client: Client::new(&path), supervisor, directory }
    }

    pub(crate) async fn with_pool(name: &str) -> Self {
        let server = Self::start(name).await;
        server.client.post(&pools(), &pool("lab", "192.0.2.0/24", "192.0.2.80", "192.0.2.81")).await.unwrap();
        server
    }

    pub(crate) async fn stop(mut self) {
        self.supervisor.stop().await;
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn pools() -> String {
    format!("{GROUP}/ippools")
}

fn balancers() -> String {
    format!("{GROUP}/namespaces/shop/loadbalancers")
}

fn pool(name: &str, subnet: &str, start: &str, end: &str) -> Value {
    json!({
        "apiVersion": "loadbalancer.harvesterhci.io/v1beta1",
        "kind": "IPPool",
        "metadata": {"name": name},
        "spec": {
            "ranges": [{"subnet": subnet, "rangeStart": start, "rangeEnd": end}],
            "selector": {"scope": [{"project": "*", "namespace": "*", "guestCluster": "*"}]},
        },
    })
}

fn balancer(name: &str) -> Value {
    json!({
        "apiVersion": "loadbalancer.harvesterhci.io/v1beta1",
        "kind": "LoadBalancer",
        "metadata": {"name": name},
        "spec": {
            "listeners": [{"port": 80, "protocol": "tcp", "backendPort": 8080}],
            "backendServerSelector": {"app": ["web"]},
        },
    })
}

/// Without what changes from run to run.
fn stable(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "creationTimestamp", "managedFields"] {
        assert!(metadata.remove(field).is_some(), "{field}");
    }
    if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
        for condition in conditions {
            condition.as_object_mut().unwrap().retain(|field, _| !field.ends_with("Time"));
        }
    }
    object
}

fn refusal(result: Result<Value, RequestError>) -> (u16, String) {
    match result {
        Err(RequestError::Refused { code, message, .. }) => (code.as_u16(), message),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_created_load_balancer_has_its_address_and_defaults() {
    let server = Server::with_pool("create").await;
    let created = server.client.post(&balancers(), &balancer("front")).await.unwrap();
    insta::assert_json_snapshot!(stable(created.clone()));
    let read = server.client.get(&format!("{}/front", balancers())).await.unwrap();
    assert_eq!(read, created);
    let pool = server.client.get(&format!("{}/lab", pools())).await.unwrap();
    insta::assert_json_snapshot!(stable(pool));
    server.stop().await;
}

#[tokio::test]
async fn lists_hold_one_namespace_or_all() {
    let server = Server::with_pool("list").await;
    server.client.post(&balancers(), &balancer("front")).await.unwrap();
    for (path, count) in [
        (balancers(), 1),
        (format!("{GROUP}/namespaces/other/loadbalancers"), 0),
        (format!("{GROUP}/loadbalancers"), 1),
        (pools(), 1),
    ] {
        let list = server.client.get(&path).await.unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{path}");
        assert!(list["kind"].as_str().unwrap().ends_with("List"));
    }
    let selected = server.client.get(&format!("{}?fieldSelector=metadata.name%3Dother", balancers())).await;
    assert_eq!(selected.unwrap()["items"], json!([]));
    let (code, message) = refusal(server.client.get(&format!("{}?labelSelector=a%20b", balancers())).await);
    assert_eq!((code, message.contains("labelSelector")), (400, true), "{message}");
    server.stop().await;
}

#[tokio::test]
async fn a_specification_write_keeps_the_status() {
    let server = Server::with_pool("status").await;
    let path = format!("{}/front", balancers());
    let created = server.client.post(&balancers(), &balancer("front")).await.unwrap();
    let mut changed = balancer("front");
    changed["spec"]["description"] = "other".into();
    changed["status"] = json!({"address": "203.0.113.9"});
    let replaced = server.client.put(&path, &changed).await.unwrap();
    assert_eq!(replaced["status"], created["status"]);
    assert_eq!(replaced["metadata"]["uid"], created["metadata"]["uid"]);
    assert_eq!(replaced["metadata"]["generation"], 2);
    assert_ne!(replaced["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    server.stop().await;
}

#[tokio::test]
async fn an_old_resource_version_is_a_conflict() {
    let server = Server::with_pool("conflict").await;
    let path = format!("{}/front", balancers());
    let mut first = server.client.post(&balancers(), &balancer("front")).await.unwrap();
    let mut second = first.clone();
    first["spec"]["description"] = "first".into();
    second["spec"]["description"] = "second".into();
    server.client.put(&path, &first).await.unwrap();
    let (code, message) = refusal(server.client.put(&path, &second).await);
    assert_eq!((code, message.contains("resourceVersion")), (409, true), "{message}");
    let (code, message) = refusal(server.client.post(&balancers(), &balancer("front")).await);
    assert_eq!((code, message.contains("exists already")), (409, true), "{message}");
    server.stop().await;
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let server = Server::start("missing").await;
    for path in [format!("{}/x", balancers()), format!("{}/x", pools()), "/nothing".into()] {
        assert_eq!(refusal(server.client.get(&path).await).0, 404, "{path}");
    }
    assert_eq!(refusal(server.client.delete(&format!("{}/x", balancers())).await).0, 404);
    assert_eq!(refusal(server.client.put(&pools(), &json!({})).await).0, 405);
    server.stop().await;
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names() {
    let server = Server::with_pool("patch").await;
    let path = format!("{}/front", balancers());
    server.client.post(&balancers(), &balancer("front")).await.unwrap();
    let patched = server.client.patch(&path, &json!({"spec": {"description": "new"}})).await.unwrap();
    assert_eq!(patched["spec"]["description"], "new");
    assert_eq!(patched["spec"]["listeners"][0]["port"], 80);
    let (code, message) = refusal(server.client.patch(&path, &json!({"spec": {"prot": 1}})).await);
    assert_eq!((code, message.contains("spec.prot")), (422, true), "{message}");
    server.stop().await;
}

#[tokio::test]
async fn wrong_input_is_refused_by_field_and_changes_nothing() {
    let server = Server::with_pool("wrong").await;
    let before = server.client.get(&pools()).await.unwrap();
    let with = |pointer: &str, value: Value| {
        let mut object = balancer("front");
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = value;
        object
    };
    let listener = |port: i64| json!({"name": "web", "port": port, "protocol": "TCP", "backendPort": 8080});
    for (object, field) in [
        (with("/spec/listeners", json!([listener(0)])), "spec.listeners[0].port"),
        (with("/spec/listeners", json!([listener(70_000)])), "spec.listeners[0].port"),
        (with("/spec/listeners", json!([listener(80), listener(80)])), "spec.listeners[1]"),
        (with("/spec/lissteners", json!([])), "spec.lissteners"),
        (with("/spec/ipPool", "nowhere".into()), "spec.ipPool"),
        (with("/spec/backendServerSelector", json!({"a b": ["c"]})), "spec.backendServerSelector"),
    ] {
        let (code, message) = refusal(server.client.post(&balancers(), &object).await);
        assert_eq!(code, 422, "{message}");
        assert!(message.contains(field), "{field}: {message}");
    }
    for (object, field) in [
        (pool("bad", "192.0.2.0/99", "", ""), "spec.ranges[0].subnet"),
        (pool("over", "192.0.2.0/24", "192.0.2.81", "192.0.2.90"), "spec.ranges[0]"),
    ] {
        let (code, message) = refusal(server.client.post(&pools(), &object).await);
        assert_eq!(code, 422, "{message}");
        assert!(message.contains(field), "{field}: {message}");
    }
    assert_eq!(server.client.get(&pools()).await.unwrap(), before);
    let list = server.client.get(&balancers()).await.unwrap();
    assert_eq!(list["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn all_wrong_fields_are_causes_of_one_status() {
    let server = Server::start("causes").await;
    let mut object = balancer("Front");
    object["spec"]["listeners"] = json!([{"port": 0, "protocol": "sctp", "backendPort": 99_999}]);
    object["spec"]["ipPool"] = "nowhere".into();
    let Err(RequestError::Refused { status, .. }) = server.client.post(&balancers(), &object).await else {
        panic!("accepted")
    };
    insta::assert_json_snapshot!(status);
    server.stop().await;
}

#[tokio::test]
async fn a_manifest_is_applied_whole_or_not_at_all() {
    let server = Server::start("apply").await;
    let mut front = balancer("front");
    front["metadata"]["namespace"] = "shop".into();
    front["spec"]["ipPool"] = "lab".into();
    let mut wrong = front.clone();
    wrong["metadata"]["name"] = "wrong".into();
    wrong["spec"]["listeners"][0]["port"] = 0.into();
    let lab = pool("lab", "192.0.2.0/24", "192.0.2.80", "192.0.2.81");
    let apply = |items: Value| json!({ "items": items });
    let (code, message) =
        refusal(server.client.post("/lb/v1/apply", &apply(json!([front, wrong, lab]))).await);
    assert_eq!((code, message.contains("shop/wrong")), (422, true), "{message}");
    assert_eq!(server.client.get(&pools()).await.unwrap()["items"], json!([]));

    let outcomes = |answer: Value| -> Vec<String> {
        let items = answer["items"].as_array().unwrap();
        items.iter().map(|item| item["outcome"].as_str().unwrap().to_owned()).collect()
    };
    let dry = server.client.post("/lb/v1/apply?dryRun=All", &apply(json!([front, lab]))).await.unwrap();
    assert_eq!(outcomes(dry), ["created", "created"]);
    assert_eq!(server.client.get(&pools()).await.unwrap()["items"], json!([]));
    for expected in [["created", "created"], ["unchanged", "unchanged"]] {
        let answer = server.client.post("/lb/v1/apply", &apply(json!([front, lab]))).await.unwrap();
        assert_eq!(outcomes(answer), expected);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_exhausted_pool_stores_the_object_and_serves_it_when_an_address_is_freed() {
    let server = Server::with_pool("exhausted").await;
    for name in ["a", "b"] {
        let created = server.client.post(&balancers(), &balancer(name)).await.unwrap();
        assert_ne!(created["status"]["address"], Value::Null);
    }
    let waiting = server.client.post(&balancers(), &balancer("c")).await.unwrap();
    assert_eq!(waiting["status"]["address"], Value::Null);
    insta::assert_json_snapshot!(stable(waiting));
    server.client.delete(&format!("{}/a", balancers())).await.unwrap();
    let now = server.client.get(&format!("{}/c", balancers())).await.unwrap();
    assert_eq!(now["status"]["address"], "192.0.2.80");
    server.stop().await;
}

#[tokio::test]
async fn a_pool_in_use_is_not_deleted() {
    let server = Server::with_pool("in-use").await;
    let lab = format!("{}/lab", pools());
    server.client.post(&balancers(), &balancer("front")).await.unwrap();
    let (code, message) = refusal(server.client.delete(&lab).await);
    assert_eq!((code, message.contains("shop/front")), (422, true), "{message}");
    server.client.delete(&format!("{}/front", balancers())).await.unwrap();
    server.client.delete(&lab).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn c18_ten_load_balancers_at_once_get_ten_addresses() {
    let server = Server::start("burst").await;
    server.client.post(&pools(), &pool("lab", "192.0.2.0/24", "192.0.2.80", "192.0.2.89")).await.unwrap();
    let creations = (0..10).map(|i| {
        let client = server.client.clone();
        async move { client.post(&balancers(), &balancer(&format!("lb-{i}"))).await.unwrap() }
    });
    let created = futures_util::future::join_all(creations).await;
    let addresses: std::collections::BTreeSet<_> =
        created.iter().map(|object| object["status"]["address"].as_str().unwrap().to_owned()).collect();
    assert_eq!(addresses.len(), 10);
    server.stop().await;
}
