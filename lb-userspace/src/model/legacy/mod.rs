//! Pools of the load balancer that Harvester had before this one: kube-vip's ConfigMaps (reference section 3.7).
//!
//! The one in `kube-system` has the pools; those of the same name in other namespaces tell who had which address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::field::FieldError;
use super::ip_pool::{IpPool, PoolRange, ScopeTuple};
use super::meta::{ObjectMeta, or_default};
use super::range::Subnet;

/// The name that all these ConfigMaps have.
const NAME: &str = "kubevip";
/// Where the one with the pools is.
const NAMESPACE: &str = "kube-system";
/// The key under which a namespace's services are.
const SERVICES: &str = "kubevip-services";
/// The pool for everybody.
const GLOBAL: &str = "global";
/// The annotation that Harvester leaves when it has made pools of the ConfigMap.
const CONVERTED: &str = "after-conversion";

/// Kubernetes' ConfigMap, as far as it is read.
#[derive(Deserialize, Default, Debug)]
#[serde(default)]
pub struct ConfigMap {
    /// Name and namespace.
    pub metadata: ObjectMeta,
    /// What it holds.
    #[serde(deserialize_with = "or_default")]
    pub data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Services {
    /// kube-vip writes null when the last one is gone.
    #[serde(deserialize_with = "or_default")]
    services: Vec<Service>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    vip: String,
    service_name: String,
}

/// The pools, each with who had which of its addresses last.
///
/// # Errors
/// Everything in the ConfigMaps that is not understood.
pub fn pools(config_maps: &[ConfigMap]) -> Result<Vec<IpPool>, Vec<FieldError>> {
    let mut problems = Vec::new();
    let mut pools = BTreeMap::new();
    for map in config_maps {
        if map.metadata.name != NAME {
            let remedy = format!("leave it out: only those named {NAME} tell of addresses");
            problems.push(wrong(
                map,
                "metadata.name",
                &map.metadata.name,
                "not a ConfigMap of kube-vip",
                remedy,
            ));
        } else if !map.metadata.annotation(CONVERTED).is_empty() {
            let remedy = "import these IPPools in its place";
            problems.push(wrong(
                map,
                "metadata.annotations",
                CONVERTED,
                "Harvester has made IPPools of it",
                remedy,
            ));
        } else if map.metadata.namespace == NAMESPACE {
            add_pools(map, &mut pools, &mut problems);
        }
    }
    for map in config_maps.iter().filter(|map| map.metadata.namespace != NAMESPACE) {
        if let Some(text) = map.data.get(SERVICES) {
            add_history(map, text, &mut pools, &mut problems);
        }
    }
    if problems.is_empty() { Ok(pools.into_values().collect()) } else { Err(problems) }
}

fn add_pools(map: &ConfigMap, pools: &mut BTreeMap<String, IpPool>, problems: &mut Vec<FieldError>) {
    for (key, value) in &map.data {
        let (read, name): (fn(&str) -> Option<PoolRange>, _) = match key.split_once('-') {
            Some(("cidr", name)) => (subnet, name),
            Some(("range", name)) => (span, name),
            // kube-vip's own settings.
            Some(_) | None => continue,
        };
        let pool = pools.entry(name.to_owned()).or_insert_with(|| named(name));
        for text in value.split(',').map(str::trim) {
            match read(text) {
                Some(range) => pool.spec.ranges.push(range),
                None => problems.push(wrong(
                    map,
                    &format!("data.{key}"),
                    text,
                    "neither a subnet nor a range",
                    "write 192.0.2.0/24 under cidr-NAMESPACE, 192.0.2.10-192.0.2.20 under range-NAMESPACE",
                )),
            }
        }
    }
}

fn named(name: &str) -> IpPool {
    let mut pool = IpPool::new(name);
    let namespace = if name == GLOBAL { "*" } else { name };
    pool.spec.selector.scope = vec![ScopeTuple::new("*", namespace, "*")];
    pool
}

fn subnet(text: &str) -> Option<PoolRange> {
    let subnet = Subnet::parse(text)?.to_string();
    Some(PoolRange { subnet, ..PoolRange::default() })
}

/// A range names no subnet: it gets the smallest in which its ends may belong to hosts.
fn span(text: &str) -> Option<PoolRange> {
    let (first, last) = text.split_once('-')?;
    let (first, last): (IpAddr, IpAddr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let subnet = Subnet::around(first.min(last), first.max(last))?.to_string();
    let (range_start, range_end) = (first.to_string(), last.to_string());
    Some(PoolRange { subnet, range_start, range_end, ..PoolRange::default() })
}

fn add_history(
    map: &ConfigMap,
    text: &str,
    pools: &mut BTreeMap<String, IpPool>,
    problems: &mut Vec<FieldError>,
) {
    let services: Services = match serde_json::from_str(text) {
        Ok(services) => services,
        Err(error) => {
            let field = format!("data.{SERVICES}");
            problems.push(wrong(
                map,
                &field,
                "",
                &format!("not kube-vip's list of services: {error}"),
                "mend it or leave it out",
            ));
            return;
        }
    };
    let namespace = &map.metadata.namespace;
    for Service { vip, service_name } in services.services {
        let Ok(address) = vip.parse::<IpAddr>() else { continue };
        let own = pools.get(namespace).is_some_and(|pool| gives(pool, address));
        let name = if own { namespace.as_str() } else { GLOBAL };
        if let Some(pool) = pools.get_mut(name).filter(|pool| gives(pool, address)) {
            let owner = format!("{namespace}/{service_name}");
            pool.status.allocated_history.insert(address.to_string(), owner);
        }
    }
}

fn gives(pool: &IpPool, address: IpAddr) -> bool {
    pool.check_spec().is_ok_and(|checked| checked.range_of(address).is_some())
}

fn wrong(map: &ConfigMap, field: &str, value: &str, problem: &str, remedy: impl Into<String>) -> FieldError {
    FieldError {
        path: format!("ConfigMap {}: {field}", map.metadata.key()),
        value: format!("{value:?}"),
        problem: problem.to_owned(),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests;
