//! The log of Kubernetes' Events: bounded, equal ones counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::tidings;
use crate::control::changes::Changes;
use crate::control::journal::{Entry, Happened};
use crate::control::resources::Resources;
use crate::model::load_balancer::{KIND, LoadBalancer};
use crate::model::meta::API_VERSION;

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
}

impl Events {
    /// None yet. Revisions begin at the moment, so that those of an earlier agent are known to be over.
    pub fn new(now: Timestamp) -> Self {
        let revision = u64::try_from(now.as_microsecond()).unwrap_or_default();
        let log = Mutex::new(Log { revision, events: BTreeMap::new() });
        Self { log, changes: Arc::new(Changes::new(revision)) }
    }

    /// Tells of everything that a transaction has changed.
    pub fn observe(&self, before: &Resources, after: &Resources, now: Timestamp) {
        for (key, object) in &after.load_balancers {
            let old = before.load_balancers.get(key);
            if old.is_some_and(|old| Arc::ptr_eq(old, object)) {
                continue;
            }
            for tiding in tidings(old.map(Arc::as_ref), object) {
                self.log().add(object, &tiding, now, &self.changes);
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
    fn add(&mut self, about: &LoadBalancer, tiding: &super::Tiding, now: Timestamp, changes: &Changes) {
        self.revision += 1;
        let moment = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut told = Vec::new();
        let uid = &about.metadata.uid;
        let is_same = |event: &Value| {
            word(event, "/involvedObject/uid") == uid
                && word(event, "/reason") == tiding.reason
                && word(event, "/message") == tiding.message
        };
        let known = self.events.iter_mut().find(|(_, event)| is_same(event));
        if let Some((_, event)) = known {
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
        }
        while self.events.len() > MAX_EVENTS {
            let Some((_, gone)) = self.events.pop_first() else { break };
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

fn event(about: &LoadBalancer, tiding: &super::Tiding, moment: &str, revision: u64) -> Value {
    let metadata = &about.metadata;
    let name = format!("{}.{revision:x}", metadata.name);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": name, "namespace": metadata.namespace, "uid": format!("event-{revision:x}"),
            "resourceVersion": revision.to_string(), "creationTimestamp": moment,
        },
        "involvedObject": {
            "apiVersion": API_VERSION, "kind": KIND, "namespace": metadata.namespace,
            "name": metadata.name, "uid": metadata.uid,
        },
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
        events.log().add(&about, &tiding, Timestamp::UNIX_EPOCH, &events.changes);
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
