//! A client that is written for Kubernetes, kube-rs, against the agent's API.

use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Error, discovery};
use lb_tests::lab::kubectl::LISTEN;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec};
use serde_json::{Value, json};
use tokio::time::timeout;

const GROUP: &str = "loadbalancer.harvesterhci.io";
const DEADLINE: Duration = Duration::from_mins(1);

fn pool(lab: &Lab) -> Value {
    let (subnet, start, end) = lab.spec.topology.vips();
    json!({
        "apiVersion": format!("{GROUP}/v1beta1"), "kind": "IPPool", "metadata": {"name": "lab"},
        "spec": {
            "ranges": [{"subnet": subnet, "rangeStart": start, "rangeEnd": end}],
            "selector": {"scope": [{"project": "*", "namespace": SHOP, "guestCluster": "*"}]},
        },
    })
}

fn balancer() -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1beta1"), "kind": "LoadBalancer", "metadata": {"name": "front", "namespace": SHOP},
        "spec": {
            "listeners": [{"port": 80, "protocol": "TCP", "backendPort": 8080}],
            "backendServerSelector": {"app": ["web"]},
        },
    })
}

/// The next event of a watch that is wanted; what is told again of it is passed over.
async fn told<T: Debug>(
    events: &mut (impl Stream<Item = Result<Event<DynamicObject>, watcher::Error>> + Unpin),
    wanted: impl Fn(&Event<DynamicObject>) -> Option<T>,
) -> T {
    timeout(DEADLINE, async {
        loop {
            let event = events.try_next().await.expect("a watch in order").expect("no end");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    })
    .await
    .expect("an event")
}

async fn life(kubeconfig: &str, pool: &Value) {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    client.apiserver_version().await.unwrap();
    let kind = GroupVersionKind::gvk(GROUP, "v1beta1", "LoadBalancer");
    let (resource, capabilities) = discovery::pinned_kind(&client, &kind).await.unwrap();
    assert_eq!(
        (resource.plural.as_str(), capabilities.scope),
        ("loadbalancers", discovery::Scope::Namespaced)
    );

    let pools =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1beta1", "IPPool"), "ippools");
    let pools: Api<DynamicObject> = Api::all_with(client.clone(), &pools);
    pools.create(&PostParams::default(), &serde_json::from_value(pool.clone()).unwrap()).await.unwrap();
    let balancers: Api<DynamicObject> = Api::namespaced_with(client, SHOP, &resource);
    let mut events = pin!(watcher(balancers.clone(), watcher::Config::default()));
    told(&mut events, |event| matches!(event, Event::InitDone).then_some(())).await;

    let applier = PatchParams::apply("kube-rs");
    let applied = balancers.patch("front", &applier, &Patch::Apply(balancer())).await.unwrap();
    let address = applied.data["status"]["address"].as_str().unwrap().to_owned();
    let seen = |event: &Event<DynamicObject>| match event {
        Event::Apply(object) => object.data["status"]["address"].as_str().map(str::to_owned),
        Event::Delete(_) | Event::Init | Event::InitApply(_) | Event::InitDone => None,
    };
    assert_eq!(told(&mut events, seen).await, address);
    let list = balancers.list(&ListParams::default().fields("metadata.name=front")).await.unwrap();
    assert_eq!((list.items.len(), list.items[0].metadata.uid.as_ref()), (1, applied.metadata.uid.as_ref()));

    let mut stale = applied.clone();
    let merge = Patch::Merge(json!({"spec": {"description": "merged"}}));
    balancers.patch("front", &PatchParams::default(), &merge).await.unwrap();
    stale.data["spec"]["description"] = "stale".into();
    let conflict = balancers.replace("front", &PostParams::default(), &stale).await.unwrap_err();
    assert!(matches!(&conflict, Error::Api(status) if status.is_conflict()), "{conflict}");
    let mut foreign = balancer();
    foreign["spec"]["listeners"][0]["backendPort"] = 9090.into();
    let owned =
        balancers.patch("front", &PatchParams::apply("other"), &Patch::Apply(foreign)).await.unwrap_err();
    assert!(matches!(&owned, Error::Api(status) if status.is_conflict()), "{owned}");

    balancers.delete("front", &DeleteParams::default()).await.unwrap();
    let gone = |event: &Event<DynamicObject>| match event {
        Event::Delete(object) => object.metadata.name.clone(),
        Event::Apply(_) | Event::Init | Event::InitApply(_) | Event::InitDone => None,
    };
    assert_eq!(told(&mut events, gone).await, "front");
    assert!(balancers.get_opt("front").await.unwrap().is_none());
    pools.delete("lab", &DeleteParams::default()).await.unwrap();
}

#[test]
fn a_client_written_for_kubernetes_lists_watches_applies_and_deletes() {
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 1 }).unwrap();
    let text = lab.installation.configuration(Topology::Bridge, Hook::Tc);
    lab.installation.configure(&format!("{text}api:\n  listen: {{address: \"{LISTEN}\"}}\n")).unwrap();
    let agent = lab.start_agent().unwrap();
    let kubeconfig = lab.installation.lb(&["kubeconfig", "kube-rs", "--role", "admin"]).unwrap();
    let pool = pool(&lab);
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(life(&kubeconfig, &pool));
    };
    lab.node().enter(work).unwrap();
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
}
