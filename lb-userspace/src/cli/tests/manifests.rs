//! Manifests that are applied, compared, exported and imported.

use serde_json::{Value, json};

use super::*;

const POOL: &str = "apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: IPPool
metadata: {name: lab}
spec:
  ranges: [{subnet: 192.0.2.0/24, rangeStart: 192.0.2.80, rangeEnd: 192.0.2.89}]
  selector: {scope: [{project: \"*\", namespace: \"*\", guestCluster: \"*\"}]}
";

fn balancer(name: &str, port: u16) -> String {
    format!(
        "---\napiVersion: loadbalancer.harvesterhci.io/v1beta1\nkind: LoadBalancer\nmetadata: {{name: {name}, \
         namespace: shop}}\nspec:\n  listeners: [{{port: {port}, protocol: TCP, backendPort: 8080}}]\n"
    )
}

async fn apply(server: &Server, text: &str) -> Result<String, String> {
    let path = file(server, "manifest.yaml", text);
    lb(server, &["apply", "-f", path.to_str().unwrap()]).await
}

async fn import(server: &Server, text: &str) -> Result<String, String> {
    let path = file(server, "import.yaml", text);
    lb(server, &["import", "-f", path.to_str().unwrap()]).await
}

async fn diff(server: &Server, text: &str) -> Result<String, String> {
    let path = file(server, "diff.yaml", text);
    lb(server, &["diff", "-f", path.to_str().unwrap()]).await
}

/// Address of each load balancer, by name.
async fn addresses(server: &Server) -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(&lb(server, &["get", "-A", "-o", "json"]).await.unwrap()).unwrap();
    let text = |object: &Value, pointer: &str| object.pointer(pointer).unwrap().as_str().unwrap().to_owned();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|object| (text(object, "/metadata/name"), text(object, "/status/address"))).collect()
}

#[tokio::test]
async fn what_an_apply_would_change_is_shown_and_nothing_changes() {
    let server = Server::start("cli-diff").await;
    let text = format!("{POOL}{}", balancer("front", 80));
    let new = diff(&server, &text).await.unwrap();
    assert!(new.starts_with("--- live/IPPool/lab\n+++ manifest/IPPool/lab\n@@"), "{new}");
    assert!(new.contains("+  name: front") && !new.contains("status"), "{new}");
    assert!(addresses(&server).await.is_empty());
    apply(&server, &text).await.unwrap();
    assert_eq!(diff(&server, &text).await.unwrap(), "", "defaults are no difference");
    let changed = diff(&server, &text.replace("port: 80,", "port: 81,")).await.unwrap();
    assert!(changed.contains("-    name: tcp-80") && changed.contains("+    port: 81"), "{changed}");
    assert!(!changed.contains("IPPool"), "{changed}");
    let error = diff(&server, &text.replace("port: 80,", "port: 0,")).await.unwrap_err();
    assert!(error.contains("spec.listeners[0].port"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn load_balancers_keep_their_addresses_where_they_are_imported() {
    let server = Server::start("cli-export").await;
    apply(&server, POOL).await.unwrap();
    for name in ["zeta", "alpha", "middle"] {
        apply(&server, &balancer(name, 80)).await.unwrap();
    }
    lb(&server, &["delete", "zeta", "-n", "shop"]).await.unwrap();
    apply(&server, &balancer("late", 443)).await.unwrap();
    let before = addresses(&server).await;
    assert_eq!(before[0], ("alpha".to_owned(), "192.0.2.81".to_owned()));
    let exported = lb(&server, &["export", "-A"]).await.unwrap();
    let as_list = lb(&server, &["export", "-A", "-o", "json"]).await.unwrap();
    assert_eq!(
        import(&server, &exported).await.unwrap().matches("unchanged").count(),
        4,
        "it is here already"
    );
    server.stop().await;
    for text in [exported, as_list] {
        let other = Server::start("cli-import").await;
        assert_eq!(import(&other, &text).await.unwrap().matches("created").count(), 4);
        assert_eq!(addresses(&other).await, before);
        other.stop().await;
    }
}

#[tokio::test]
async fn what_another_cluster_has_stored_is_imported_as_often_as_one_likes() {
    let server = Server::start("cli-cluster").await;
    let metadata = |name: &str| {
        json!({
            "name": name, "uid": "5f0c", "resourceVersion": "90210", "generation": 7,
            "creationTimestamp": "2024-01-02T03:04:05Z",
            "managedFields": [{"manager": "harvester", "operation": "Update", "fieldsV1": {"f:spec": {}}}],
        })
    };
    let mut objects = manifest::objects(&format!("{POOL}{}", balancer("front", 80)), "default").unwrap();
    objects[0]["metadata"] = metadata("lab");
    objects[0]["status"] = json!({"allocatedHistory": {"192.0.2.85": "shop/front"}});
    objects[1]["metadata"] = metadata("front");
    objects[1]["metadata"]["namespace"] = json!("shop");
    let text = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    assert_eq!(import(&server, &text).await.unwrap().matches("created").count(), 2);
    assert_eq!(addresses(&server).await, [("front".to_owned(), "192.0.2.85".to_owned())]);
    assert_eq!(import(&server, &text).await.unwrap().matches("unchanged").count(), 2);
    assert_eq!(diff(&server, &text).await.unwrap(), "");
    server.stop().await;
}

#[tokio::test]
async fn an_import_is_refused_whole() {
    let server = Server::start("cli-refused").await;
    apply(&server, &format!("{POOL}{}", balancer("front", 80))).await.unwrap();
    let other = format!("{POOL}{}{}", balancer("front", 81), balancer("new", 80));
    let error = import(&server, &other).await.unwrap_err();
    assert!(error.contains("LoadBalancer shop/front: exists, and is another"), "{error}");
    let wrong = format!("{}{}", balancer("new", 80), balancer("wrong", 0));
    let error = import(&server, &wrong).await.unwrap_err();
    assert!(error.contains("shop/wrong") && error.contains("spec.listeners[0].port"), "{error}");
    assert_eq!(addresses(&server).await.len(), 1);
    assert!(import(&server, "---\n").await.unwrap_err().contains("nothing in it"));
    server.stop().await;
}

#[tokio::test]
async fn pools_of_kube_vip_are_imported_with_who_had_their_addresses() {
    let server = Server::start("cli-legacy").await;
    let map = |namespace: &str, data: Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": namespace, "name": "kubevip"}, "data": data,
        })
    };
    let services = json!({"services": [{"vip": "192.0.2.83", "serviceName": "front"}]}).to_string();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        map("kube-system", json!({"range-shop": "192.0.2.80-192.0.2.89"})),
        map("shop", json!({"kubevip-services": services})),
    ]});
    assert_eq!(import(&server, &list.to_string()).await.unwrap(), "IPPool shop created\n");
    apply(&server, &balancer("front", 80)).await.unwrap();
    assert_eq!(addresses(&server).await, [("front".to_owned(), "192.0.2.83".to_owned())]);
    let wrong = list.to_string().replace("192.0.2.80-", "192.0.2.80+");
    let error = import(&server, &wrong).await.unwrap_err();
    assert!(error.contains("ConfigMap kube-system/kubevip: data.range-shop"), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn a_manifest_of_v1alpha1_is_applied_together_with_others() {
    let server = Server::start("cli-old").await;
    let old = "---
apiVersion: loadbalancer.harvesterhci.io/v1alpha1
kind: LoadBalancer
metadata: {namespace: shop, name: old}
spec:
  ipam: pool
  listeners: [{name: web, port: 80, protocol: TCP, backendPort: 8080}]
  backendServers: [192.0.2.11, 192.0.2.99]
  healthCheck: {port: 8080, successThreshold: 1, failureThreshold: 3, PeriodSeconds: 5, timeoutSeconds: 3}
";
    let text = apply(&server, &format!("{POOL}{old}")).await.unwrap();
    assert_eq!(text, "IPPool lab created\nLoadBalancer shop/old created\n");
    let object = lb(&server, &["get", "old", "-n", "shop", "-o", "json"]).await.unwrap();
    let object: Value = serde_json::from_str(&object).unwrap();
    assert_eq!(object["spec"]["backendServerSelector"], json!({"harvesterhci.io/vmName": ["web-1"]}));
    assert_eq!(object["spec"]["healthCheck"]["periodSeconds"], 5);
    assert_eq!(object["status"]["address"], "192.0.2.80");
    let again = format!("{POOL}{old}{}", balancer("wrong", 0));
    assert!(apply(&server, &again).await.unwrap_err().contains("shop/wrong"));
    let unknown = old.replace("  ipam:", "  ipma: x\n  ipam:");
    let error = apply(&server, &unknown).await.unwrap_err();
    assert!(error.contains("spec.ipma"), "{error}");
    server.stop().await;
}
