//! The log of Kubernetes' Events: bounded, equal ones counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{pool_tidings, tidings};
use crate::control::changes::Changes;
use crate::control::journal::{Entry, Happened};
use crate::control::resources::Resources;
use crate::model::ip_pool::{self, IpPool};
use crate::model::load_balancer::{self, LoadBalancer};
use crate::model::meta::{API_VERSION, ObjectMeta};
use crate::model::shared::differing;

/// The resource name of API paths.
pub const EVENTS: &str = "events";
/// Events that are kept; the oldest go first.
const MAX_EVENTS: usize = 1000;

/// The latest events.
#[derive(Debug)]
pub struct Events {
    log: Mutex<Log>,
    changes: Arc<Changes>,
}

#[derive(Debug)]
struct Log {
    revision: u64,
    /// By number, the oldest first.
    events: BTreeMap<u64, Value>,
    /// The number of each.
    known: BTreeMap<Told, u64>,
}

/// What equal events have in common. A hundred thousand backends that become ready at once are as many events: each
/// is looked up, none is compared with all others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Told {
    uid: String,
    reason: String,
    message: String,
}

impl Told {
    fn of(event: &Value) -> Self {
        let word = |pointer| word(event, pointer).to_owned();
        Self { uid: word("/involvedObject/uid"), reason: word("/reason"), message: word("/message") }
    }
}

impl Events {
    /// None yet. Revisions begin at the moment, so that those of an earlier agent are known to be over.
    pub fn new(now: Timestamp) -> Self {
        let revision = u64::try_from(now.as_microsecond()).unwrap_or_default();
        let log = Mutex::new(Log { revision, events: BTreeMap::new(), known: BTreeMap::new() });
        Self { log, changes: Arc::new(Changes::new(revision)) }
    }

    /// Tells of everything that a transaction has changed.
    pub fn observe(&self, before: &Resources, after: &Resources, now: Timestamp) {
        for (_, old, new) in differing(&before.load_balancers, &after.load_balancers) {
            let Some(object) = new else { continue };
            for tiding in tidings(old.map(Arc::as_ref), object) {
                self.log().add(&About::load_balancer(object), &tiding, now, &self.changes);
            }
        }
        for (name, pool) in &after.pools {
            for tiding in pool_tidings(before.pools.get(name), pool) {
                self.log().add(&About::pool(pool), &tiding, now, &self.changes);
            }
        }
    }

    /// Their revision, and all of them, the oldest first.
    pub fn snapshot(&self) -> (u64, Vec<Value>) {
        let log = self.log();
        (log.revision, log.events.values().cloned().collect())
    }

    /// The latest changes.
    pub fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // What a panic leaves out is one event.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn add(&mut self, about: &About<'_>, tiding: &super::Tiding, now: Timestamp, changes: &Changes) {
        self.revision += 1;
        let moment = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut told = Vec::new();
        let key = Told {
            uid: about.metadata.uid.clone(),
            reason: tiding.reason.clone(),
            message: tiding.message.clone(),
        };
        let known = self.known.get(&key).and_then(|number| self.events.get_mut(number));
        if let Some(event) = known {
            let count = event.get("count").and_then(Value::as_u64).unwrap_or(1) + 1;
            set(event, "count", json!(count));
            set(event, "lastTimestamp", json!(moment));
            if let Some(metadata) = event.get_mut("metadata") {
                set(metadata, "resourceVersion", json!(self.revision.to_string()));
            }
            told.push(entry(self.revision, Happened::Modified, event));
        } else {
            let event = event(about, tiding, &moment, self.revision);
            told.push(entry(self.revision, Happened::Added, &event));
            self.events.insert(self.revision, event);
            self.known.insert(key, self.revision);
        }
        while self.events.len() > MAX_EVENTS {
            let Some((_, gone)) = self.events.pop_first() else { break };
            self.known.remove(&Told::of(&gone));
            told.push(entry(self.revision, Happened::Deleted, &gone));
        }
        changes.push(self.revision, told);
    }
}

fn word<'a>(event: &'a Value, pointer: &str) -> &'a str {
    event.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.insert(field.to_owned(), value);
    }
}

/// The object that an event is about.
struct About<'a> {
    kind: &'static str,
    metadata: &'a ObjectMeta,
}

impl<'a> About<'a> {
    fn load_balancer(object: &'a LoadBalancer) -> Self {
        Self { kind: load_balancer::KIND, metadata: &object.metadata }
    }

    fn pool(object: &'a IpPool) -> Self {
        Self { kind: ip_pool::KIND, metadata: &object.metadata }
    }

    /// Where its events are: those of what has no namespace are in Kubernetes' default one.
    fn namespace(&self) -> &str {
        if self.metadata.namespace.is_empty() { "default" } else { &self.metadata.namespace }
    }
}

fn event(about: &About<'_>, tiding: &super::Tiding, moment: &str, revision: u64) -> Value {
    let ObjectMeta { name, namespace, uid, .. } = about.metadata;
    let mut object = json!({ "apiVersion": API_VERSION, "kind": about.kind, "name": name, "uid": uid });
    if !namespace.is_empty() {
        set(&mut object, "namespace", json!(namespace));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{name}.{revision:x}"), "namespace": about.namespace(),
            "uid": format!("event-{revision:x}"), "resourceVersion": revision.to_string(),
            "creationTimestamp": moment,
        },
        "involvedObject": object,
        "type": if tiding.warning { "Warning" } else { "Normal" },
        "reason": tiding.reason,
        "message": tiding.message,
        "source": { "component": "lb" },
        "reportingComponent": "lb",
        "reportingInstance": "",
        "eventTime": null,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    })
}

fn entry(revision: u64, happened: Happened, event: &Value) -> Entry {
    let namespace = word(event, "/metadata/namespace").to_owned();
    let name = word(event, "/metadata/name").to_owned();
    let labels_before = (happened != Happened::Added).then(BTreeMap::new);
    let labels = BTreeMap::new();
    Entry {
        revision,
        happened,
        resource: EVENTS,
        namespace,
        name,
        labels_before,
        labels,
        text: event.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tidings::Tiding;

    fn add(events: &Events, message: &str) {
        let about = LoadBalancer::new("shop", "front");
        let tiding = Tiding { warning: false, reason: "Ready".into(), message: message.into() };
        events.log().add(&About::load_balancer(&about), &tiding, Timestamp::UNIX_EPOCH, &events.changes);
    }

    #[test]
    fn events_of_a_pool_are_in_the_default_namespace_and_name_it_without_one() {
        let events = Events::new(Timestamp::UNIX_EPOCH);
        let (before, mut after) = (Resources::default(), Resources::default());
        let mut pool = IpPool::new("lab");
        (pool.status.total, pool.metadata.uid) = (1, "uid".to_owned());
        after.pools.insert("lab".to_owned(), pool);
        events.observe(&before, &after, Timestamp::UNIX_EPOCH);
        events.observe(&after, &after, Timestamp::UNIX_EPOCH);
        let (_, all) = events.snapshot();
        let [event] = &all[..] else { panic!("{all:?}") };
        let involved = json!({ "apiVersion": API_VERSION, "kind": "IPPool", "name": "lab", "uid": "uid" });
        assert_eq!((word(event, "/metadata/namespace"), &event["involvedObject"]), ("default", &involved));
        assert_eq!((word(event, "/type"), word(event, "/reason")), ("Warning", "PoolExhausted"));
    }

    #[test]
    fn equal_events_are_counted_and_the_oldest_go() {
        let events = Events::new(Timestamp::UNIX_EPOCH);
        add(&events, "0");
        add(&events, "0");
        let (revision, all) = events.snapshot();
        assert_eq!((revision, all.len(), &all[0]["count"]), (2, 1, &json!(2)));
        for number in 1..=MAX_EVENTS {
            add(&events, &number.to_string());
        }
        let (_, all) = events.snapshot();
        assert_eq!((all.len(), &all[0]["message"]), (MAX_EVENTS, &json!("1")));
        let happened: Vec<_> = events.changes.since(0).unwrap().iter().map(|entry| entry.happened).collect();
        assert_eq!(happened[..2], [Happened::Added, Happened::Modified]);
        assert_eq!(happened.last(), Some(&Happened::Deleted));
    }
}
