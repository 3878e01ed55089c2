//! The stored objects of one revision, and their way to and from the store.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::journal::{Entry, Happened};
use super::tokens::{TOKENS, Token};
use crate::ipam::dhcp::model::Lease;
use crate::model::ip_pool::IpPool;
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::{NamespacedName, ObjectMeta};
use crate::model::shared::differing;
use crate::store::{Key, Record, Write};

/// The resource names of API paths and keys.
pub const LOAD_BALANCERS: &str = "loadbalancers";
/// As [`LOAD_BALANCERS`].
pub const IP_POOLS: &str = "ippools";
/// The name of leases in keys. No path leads to them.
const LEASES: &str = "leases";

/// All objects as of a revision.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Resources {
    /// The last revision of the store that is in here.
    pub revision: u64,
    /// By namespace and name. What does not change is shared between revisions.
    pub load_balancers: BTreeMap<NamespacedName, Arc<LoadBalancer>>,
    /// By name.
    pub pools: BTreeMap<String, IpPool>,
    /// By name.
    pub tokens: BTreeMap<String, Token>,
    /// What DHCP servers lent, by load balancer; also to those that are gone, until it is given back.
    pub leases: BTreeMap<NamespacedName, Lease>,
}

/// A stored object that can't be read. It is left alone and ignored.
#[derive(Debug, thiserror::Error)]
#[error("stored {}/{}/{} is ignored: {message}", key.resource, key.namespace, key.name)]
pub struct BrokenRecord {
    /// What names it.
    pub key: Key,
    /// What is wrong.
    pub message: String,
}

impl Resources {
    /// From the records of a store and its revision, and those that can't be read.
    pub fn from_records(revision: u64, records: &[Record]) -> (Self, Vec<BrokenRecord>) {
        let mut resources = Self { revision, ..Self::default() };
        let mut broken = Vec::new();
        for record in records {
            if let Err(message) = resources.insert(record) {
                broken.push(BrokenRecord { key: record.key.clone(), message });
            }
        }
        (resources, broken)
    }

    fn insert(&mut self, record: &Record) -> Result<(), String> {
        match record.key.resource.as_str() {
            LOAD_BALANCERS => {
                let object: LoadBalancer = read(record)?;
                self.load_balancers.insert(object.metadata.key(), Arc::new(object));
            }
            IP_POOLS => {
                let object: IpPool = read(record)?;
                self.pools.insert(object.metadata.name.clone(), object);
            }
            TOKENS => {
                let token: Token =
                    crate::model::parse::json(&record.content).map_err(|error| error.to_string())?;
                self.tokens.insert(token.name.clone(), token);
            }
            LEASES => {
                let lease = serde_json::from_slice(&record.content).map_err(|error| error.to_string())?;
                let Key { namespace, name, .. } = &record.key;
                self.leases.insert(NamespacedName::new(namespace, name), lease);
            }
            other => return Err(format!("resource {other:?} is not known to this version")),
        }
        Ok(())
    }

    /// Whether a pool has given an address to a load balancer.
    pub fn is_pooled(&self, address: IpAddr) -> bool {
        let address = address.to_string();
        self.pools.values().any(|pool| pool.status.allocated.contains_key(&address))
    }

    /// The pools that have given a load balancer an address, or had given it before.
    pub fn pools_of(&self, address: IpAddr, lb: &NamespacedName) -> impl Iterator<Item = &IpPool> {
        let (address, lb) = (address.to_string(), lb.to_string());
        self.pools.values().filter(move |pool| {
            let status = &pool.status;
            let owner = status.allocated.get(&address).or_else(|| status.allocated_history.get(&address));
            owner == Some(&lb)
        })
    }

    /// The writes that make `self` out of `before`.
    ///
    /// # Errors
    /// When an object has no JSON form.
    pub fn writes_since(&self, before: &Self) -> Result<Vec<Write>, serde_json::Error> {
        let namespaced = |resource: &str, key: &NamespacedName| Key {
            resource: resource.into(),
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
        };
        let pool =
            |name: &String| Key { resource: IP_POOLS.into(), namespace: String::new(), name: name.clone() };
        let mut all = Vec::new();
        for (key, old, new) in differing(&before.load_balancers, &self.load_balancers) {
            let key = namespaced(LOAD_BALANCERS, key);
            match new {
                Some(new) if old == Some(new) => {}
                Some(new) => all.push(Write::Put(key, new.content()?)),
                None => all.push(Write::Delete(key)),
            }
        }
        all.extend(writes(&before.pools, &self.pools, pool)?);
        let token =
            |name: &String| Key { resource: TOKENS.into(), namespace: String::new(), name: name.clone() };
        all.extend(writes(&before.tokens, &self.tokens, token)?);
        let new = self.leases.iter().filter(|(key, lease)| before.leases.get(key) != Some(lease));
        for (key, lease) in new {
            all.push(Write::Put(namespaced(LEASES, key), serde_json::to_vec(lease)?));
        }
        let gone = before.leases.keys().filter(|key| !self.leases.contains_key(key));
        all.extend(gone.map(|key| Write::Delete(namespaced(LEASES, key))));
        Ok(all)
    }

    /// What has changed since `before`, which this is stamped after.
    ///
    /// # Errors
    /// When an object has no JSON form.
    pub fn changes_since(&self, before: &Self) -> Result<Vec<Entry>, serde_json::Error> {
        let objects = differing(&before.load_balancers, &self.load_balancers);
        let objects = objects.into_iter().filter(|(_, old, new)| old != new);
        let objects = objects.map(|(_, old, new)| entry(LOAD_BALANCERS, old, new, self.revision));
        let changed = self.pools.iter().filter(|(name, new)| before.pools.get(*name) != Some(new));
        let changed = changed.map(|(name, new)| (before.pools.get(name), Some(new)));
        let gone = before.pools.iter().filter(|(name, _)| !self.pools.contains_key(*name));
        let pools = changed.chain(gone.map(|(_, old)| (Some(old), None)));
        let pools = pools.map(|(old, new)| entry(IP_POOLS, old, new, self.revision));
        objects.chain(pools).filter_map(Result::transpose).collect()
    }

    /// Marks what has changed since `before` as written by `revision`.
    pub fn stamp(&mut self, before: &Self, revision: u64) {
        self.revision = revision;
        let objects = differing(&before.load_balancers, &self.load_balancers);
        let changed = objects.into_iter().filter(|(_, old, new)| old != new);
        let changed: Vec<NamespacedName> = changed.map(|(key, ..)| key.clone()).collect();
        for key in changed {
            if let Some(object) = self.load_balancers.get_mut(&key) {
                object.metadata().resource_version = revision.to_string();
            }
        }
        for (name, pool) in &mut self.pools {
            if before.pools.get(name) != Some(pool) {
                pool.metadata.resource_version = revision.to_string();
            }
        }
    }
}

/// What both kinds have.
trait Object: Clone + PartialEq {
    fn metadata(&mut self) -> &mut ObjectMeta;

    fn json(&self) -> Result<Vec<u8>, serde_json::Error>;
}

impl Object for LoadBalancer {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl Object for Arc<LoadBalancer> {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut Arc::make_mut(self).metadata
    }

    fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        (**self).json()
    }
}

impl Object for IpPool {
    fn metadata(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

fn read<T: Object + DeserializeOwned>(record: &Record) -> Result<T, String> {
    let mut object: T = crate::model::parse::json(&record.content).map_err(|error| error.to_string())?;
    object.metadata().resource_version = record.revision.to_string();
    Ok(object)
}

/// What the store keeps.
trait Stored: Clone + PartialEq {
    /// Its JSON form; the revision is the record's.
    fn content(&self) -> Result<Vec<u8>, serde_json::Error>;
}

impl<T: Object> Stored for T {
    fn content(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut object = self.clone();
        object.metadata().resource_version.clear();
        object.json()
    }
}

impl Stored for Token {
    fn content(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

fn writes<K: Ord, T: Stored>(
    before: &BTreeMap<K, T>,
    after: &BTreeMap<K, T>,
    key_of: impl Fn(&K) -> Key,
) -> Result<Vec<Write>, serde_json::Error> {
    let mut writes = Vec::new();
    for (key, object) in after.iter().filter(|(key, object)| before.get(key) != Some(object)) {
        writes.push(Write::Put(key_of(key), object.content()?));
    }
    let gone = before.keys().filter(|key| !after.contains_key(key));
    writes.extend(gone.map(|key| Write::Delete(key_of(key))));
    Ok(writes)
}

/// What has become of an object; nothing, if there neither was nor is one.
fn entry<T: Object>(
    resource: &'static str,
    old: Option<&T>,
    new: Option<&T>,
    revision: u64,
) -> Result<Option<Entry>, serde_json::Error> {
    let (happened, object) = match (old, new) {
        (None, Some(new)) => (Happened::Added, new),
        (Some(_), Some(new)) => (Happened::Modified, new),
        (Some(old), None) => (Happened::Deleted, old),
        (None, None) => return Ok(None),
    };
    let mut object = object.clone();
    object.metadata().resource_version = revision.to_string();
    let text = String::from_utf8_lossy(&object.json()?).into_owned();
    let ObjectMeta { namespace, name, labels, .. } = std::mem::take(object.metadata());
    let labels_before = old.map(|old| old.clone().metadata().labels.clone());
    Ok(Some(Entry { revision, happened, resource, namespace, name, labels_before, labels, text }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{MemoryStore, Store};

    fn sample() -> Resources {
        let mut resources = Resources::default();
        let lb = LoadBalancer::new("shop", "front");
        resources.load_balancers.insert(lb.metadata.key(), lb.into());
        resources.pools.insert("lab".into(), IpPool::new("lab"));
        resources
    }

    #[test]
    fn what_is_written_is_read_back_with_its_revision() {
        let mut store = MemoryStore::default();
        let mut resources = sample();
        let writes = resources.writes_since(&Resources::default()).unwrap();
        let revision = store.commit(&writes).unwrap();
        resources.stamp(&Resources::default(), revision);
        let (read, broken) = Resources::from_records(store.revision().unwrap(), &store.load().unwrap());
        assert!(broken.is_empty());
        assert_eq!(read, resources);
        assert_eq!(read.pools["lab"].metadata.resource_version, "1");
    }

    #[test]
    fn only_what_changed_is_written() {
        let before = sample();
        let mut after = before.clone();
        assert!(after.writes_since(&before).unwrap().is_empty());
        after.pools.clear();
        assert!(
            matches!(after.writes_since(&before).unwrap().as_slice(), [Write::Delete(key)] if key.name == "lab")
        );
    }

    #[test]
    fn a_broken_record_is_named_and_ignored() {
        let key = |resource: &str| Key { resource: resource.into(), namespace: "n".into(), name: "x".into() };
        let mut store = MemoryStore::default();
        let writes =
            [Write::Put(key("loadbalancers"), b"{}".into()), Write::Put(key("others"), b"{}".into())];
        store.commit(&writes).unwrap();
        let (resources, broken) = Resources::from_records(store.revision().unwrap(), &store.load().unwrap());
        assert!(resources.load_balancers.is_empty());
        assert_eq!(broken.len(), 2);
        assert!(broken[0].to_string().contains("loadbalancers/n/x"), "{}", broken[0]);
    }
}
