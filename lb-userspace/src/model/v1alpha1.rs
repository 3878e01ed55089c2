//! LoadBalancer as v1alpha1 has it: backends by address instead of by label. Deprecated, served all the same.
//!
//! What an old client writes unchanged keeps what v1beta1 says more about it.

use serde_json::{Map, Value, json};

use super::meta::{API_VERSION, GROUP};

/// The version's name.
pub const VERSION: &str = "v1alpha1";
/// The label that every VM has: its name.
pub const VM_NAME: &str = "harvesterhci.io/vmName";

/// Fields of the specification that both versions have alike.
const ALIKE: [&str; 3] = ["description", "ipam", "listeners"];

/// The object as v1alpha1 has it.
pub fn from_v1beta1(object: &Value) -> Value {
    let mut old = object.clone();
    let mut spec = Map::new();
    for name in ALIKE {
        if let Some(value) = object.pointer(&format!("/spec/{name}")) {
            spec.insert(name.to_owned(), value.clone());
        }
    }
    spec.entry("ipam").or_insert_with(|| json!("pool"));
    if let Some(check) = object.pointer("/spec/healthCheck") {
        spec.insert("healthCheck".to_owned(), renamed(check, "periodSeconds", "PeriodSeconds"));
    }
    let servers = object.pointer("/status/backendServers").cloned();
    spec.insert("backendServers".to_owned(), servers.unwrap_or_else(|| json!([])));
    if let Some(map) = old.as_object_mut() {
        map.insert("apiVersion".to_owned(), json!(format!("{GROUP}/{VERSION}")));
        map.insert("spec".to_owned(), Value::Object(spec));
    }
    old
}

/// Names what an address belongs to.
pub type Names<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The object as v1beta1 has it, over what is `stored`; and warnings about addresses that nobody knows. `vm` names
/// the VM of an address; `pool` the pool that has given it to this load balancer and that it may name, if it is new:
/// one that exists has its pool.
pub fn to_v1beta1(
    object: &Value,
    stored: Option<&Value>,
    vm: &Names<'_>,
    pool: Option<&Names<'_>>,
) -> (Value, Vec<String>) {
    let given = object.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
    let known = stored.map(from_v1beta1);
    let is_same = |name: &str| {
        known.as_ref().is_some_and(|known| known.pointer(&format!("/spec/{name}")) == given.get(name))
    };
    let spec = stored.and_then(|stored| stored.get("spec")).and_then(Value::as_object);
    let mut spec = spec.cloned().unwrap_or_default();
    let mut warnings = Vec::new();
    for name in ALIKE.into_iter().chain(["healthCheck", "backendServers"]).filter(|name| !is_same(name)) {
        let name_now = if name == "backendServers" { "backendServerSelector" } else { name };
        spec.remove(name_now);
        let Some(value) = given.get(name) else { continue };
        match name {
            "healthCheck" => {
                spec.insert(name.to_owned(), renamed(value, "PeriodSeconds", "periodSeconds"));
            }
            "backendServers" => {
                let names = vms(value, vm, &mut warnings);
                if !names.is_empty() {
                    spec.insert(name_now.to_owned(), json!({ VM_NAME: names }));
                }
            }
            _ => {
                spec.insert(name.to_owned(), value.clone());
            }
        }
    }
    // What nobody knows is for the reader of v1beta1 to refuse by name.
    for (name, value) in given {
        if !ALIKE.contains(&name.as_str()) && name != "healthCheck" && name != "backendServers" {
            spec.insert(name, value);
        }
    }
    if let Some(pool) = pool {
        name_pool(&mut spec, object, pool, &mut warnings);
    }
    let mut new = object.clone();
    if let Some(map) = new.as_object_mut() {
        map.insert("apiVersion".to_owned(), json!(API_VERSION));
        map.insert("spec".to_owned(), Value::Object(spec));
        map.remove("status");
    }
    (new, warnings)
}

/// Names the pool that the address is of: an old client can't, and would be given one of another.
fn name_pool(spec: &mut Map<String, Value>, object: &Value, pool: &Names<'_>, warnings: &mut Vec<String>) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let address = text(object.pointer("/status/address"));
    if address.is_empty() || text(spec.get("ipam")) == "dhcp" || !text(spec.get("ipPool")).is_empty() {
        return;
    }
    if let Some(name) = pool(&address) {
        spec.insert("ipPool".to_owned(), json!(name));
    } else {
        warnings.push(format!(
            "status.address: no pool has given {address} to this load balancer, or it is not open to it any more: one \
             is selected automatically"
        ));
    }
}

/// The VMs that have the addresses.
fn vms(addresses: &Value, vm: &Names<'_>, warnings: &mut Vec<String>) -> Vec<String> {
    let mut names = Vec::new();
    for (index, address) in addresses.as_array().into_iter().flatten().enumerate() {
        let address = address.as_str().unwrap_or_default();
        match vm(address) {
            Some(name) if !names.contains(&name) => names.push(name),
            Some(_) => {}
            None => {
                warnings.push(format!("spec.backendServers[{index}]: {address} belongs to no VM: left out"));
            }
        }
    }
    names
}

fn renamed(map: &Value, from: &str, to: &str) -> Value {
    let mut map = map.clone();
    if let Some(map) = map.as_object_mut()
        && let Some(value) = map.remove(from)
    {
        map.insert(to.to_owned(), value);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(address: &str) -> Option<String> {
        let known = [("192.0.2.11", "vm1"), ("192.0.2.12", "vm2")];
        known.iter().find(|(known, _)| *known == address).map(|(_, name)| (*name).to_owned())
    }

    fn old() -> Value {
        json!({
            "apiVersion": "loadbalancer.harvesterhci.io/v1alpha1", "kind": "LoadBalancer",
            "metadata": {"namespace": "default", "name": "lb1"},
            "spec": {
                "ipam": "pool", "backendServers": ["192.0.2.11", "192.0.2.12"],
                "listeners": [{"name": "a", "port": 80, "protocol": "TCP", "backendPort": 30131}],
                "healthCheck": {"port": 30131, "successThreshold": 1, "failureThreshold": 3, "timeoutSeconds": 3, "PeriodSeconds": 5},
            },
        })
    }

    #[test]
    fn a6_addresses_become_vm_names_and_come_back() {
        let (mut new, warnings) = to_v1beta1(&old(), None, &vm, None);
        assert!(warnings.is_empty());
        assert_eq!(new["spec"]["backendServerSelector"], json!({ VM_NAME: ["vm1", "vm2"] }));
        assert_eq!(new["spec"]["healthCheck"]["periodSeconds"], 5);
        new["status"] = json!({"backendServers": ["192.0.2.11", "192.0.2.12"]});
        let mut back = from_v1beta1(&new);
        back.as_object_mut().unwrap().remove("status");
        assert_eq!(back, old());
    }

    #[test]
    fn what_an_old_client_leaves_alone_keeps_what_v1beta1_says_more() {
        let stored = json!({
            "metadata": {"name": "lb1"},
            "spec": {
                "listeners": [{"name": "a", "port": 80, "protocol": "TCP", "backendPort": 8080, "strict": true}],
                "backendServerSelector": {"app": ["web"]}, "selection": "Random",
            },
            "status": {"backendServers": ["192.0.2.11"]},
        });
        let mut seen = from_v1beta1(&stored);
        seen["spec"]["description"] = json!("by an old client");
        let (new, _) = to_v1beta1(&seen, Some(&stored), &vm, None);
        let mut expected = stored["spec"].clone();
        expected["description"] = json!("by an old client");
        assert_eq!(new["spec"], expected);
    }

    #[test]
    fn a6_an_address_names_the_pool_that_has_given_it() {
        let pool = |address: &str| (address == "192.0.2.100").then(|| "pool1".to_owned());
        let new = |status: Value, ipam: &str, stored: Option<&Value>| {
            let mut object = old();
            object["status"] = status;
            object["spec"]["ipam"] = json!(ipam);
            let (new, warnings) =
                to_v1beta1(&object, stored, &vm, stored.is_none().then_some(&pool as &Names<'_>));
            (new["spec"]["ipPool"].clone(), warnings.len())
        };
        let at = |address: &str| json!({ "address": address });
        assert_eq!(new(at("192.0.2.100"), "pool", None), (json!("pool1"), 0));
        assert_eq!(new(at("192.0.2.101"), "pool", None), (Value::Null, 1));
        assert_eq!(new(at("192.0.2.100"), "dhcp", None), (Value::Null, 0));
        assert_eq!(new(json!({}), "pool", None), (Value::Null, 0));
        let stored = json!({"spec": {"ipPool": ""}});
        assert_eq!(new(at("192.0.2.100"), "pool", Some(&stored)), (json!(""), 0), "it may choose anew");
    }

    #[test]
    fn nothing_is_missed_that_is_not_there() {
        for empty in [json!({}), json!({"spec": null}), json!({"spec": {"backendServers": null}}), json!([1])]
        {
            drop(from_v1beta1(&empty));
            drop(to_v1beta1(&empty, Some(&empty), &vm, None));
        }
        let (new, warnings) =
            to_v1beta1(&json!({"spec": {"backendServers": ["192.0.2.99"]}}), None, &vm, None);
        assert_eq!(new["spec"], json!({}));
        assert_eq!(warnings, ["spec.backendServers[0]: 192.0.2.99 belongs to no VM: left out"]);
    }
}
