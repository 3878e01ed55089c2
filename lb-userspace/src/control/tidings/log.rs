//! The log of Kubernetes' Events: bounded, equal ones counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Tiding, pool_tidings, tidings};
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
    events: BTreeMap<u64, Event>,
    /// The number of each.
    known: BTreeMap<Told, u64>,
}

/// As it is kept: a thousand of them as JSON would be fifty thousand pieces of memory.
#[derive(Debug)]
struct Event {
    /// The revision that it was new in.
    number: u64,
    revision: u64,
    about: About,
    tiding: Tiding,
    first: Timestamp,
    last: Timestamp,
    count: u64,
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
    fn of(about: &About, tiding: &Tiding) -> Self {
        let Tiding { reason, message, .. } = tiding.clone();
        Self { uid: about.uid.clone(), reason, message }
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
                self.log().add(About::load_balancer(object), tiding, now, &self.changes);
            }
        }
        for (name, pool) in &after.pools {
            for tiding in pool_tidings(before.pools.get(name), pool) {
                self.log().add(About::pool(pool), tiding, now, &self.changes);
            }
        }
    }

    /// Their revision, and all of them, the oldest first.
    pub fn snapshot(&self) -> (u64, Vec<Value>) {
        let log = self.log();
        (log.revision, log.events.values().map(Event::json).collect())
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
    fn add(&mut self, about: About, tiding: Tiding, now: Timestamp, changes: &Changes) {
        self.revision += 1;
        let revision = self.revision;
        let mut told = Vec::new();
        let key = Told::of(&about, &tiding);
        let known = self.known.get(&key).and_then(|number| self.events.get_mut(number));
        if let Some(event) = known {
            event.count += 1;
            (event.last, event.revision) = (now, revision);
            told.push(event.entry(revision, Happened::Modified));
        } else {
            let (number, count) = (revision, 1);
            let event = Event { number, revision, about, tiding, first: now, last: now, count };
            told.push(event.entry(revision, Happened::Added));
            self.events.insert(number, event);
            self.known.insert(key, number);
        }
        while self.events.len() > MAX_EVENTS {
            let Some((_, gone)) = self.events.pop_first() else { break };
            self.known.remove(&Told::of(&gone.about, &gone.tiding));
            told.push(gone.entry(revision, Happened::Deleted));
        }
        changes.push(revision, told);
    }
}

/// The object that an event is about.
#[derive(Debug)]
struct About {
    kind: &'static str,
    name: String,
    /// Empty for what has none.
    namespace: String,
    uid: String,
}

impl About {
    fn load_balancer(object: &LoadBalancer) -> Self {
        Self::of(load_balancer::KIND, &object.metadata)
    }

    fn pool(object: &IpPool) -> Self {
        Self::of(ip_pool::KIND, &object.metadata)
    }

    fn of(kind: &'static str, metadata: &ObjectMeta) -> Self {
        let ObjectMeta { name, namespace, uid, .. } = metadata;
        Self { kind, name: name.clone(), namespace: namespace.clone(), uid: uid.clone() }
    }

    /// Where its events are: those of what has no namespace are in Kubernetes' default one.
    fn event_namespace(&self) -> &str {
        if self.namespace.is_empty() { "default" } else { &self.namespace }
    }
}

impl Event {
    fn name(&self) -> String {
        format!("{}.{:x}", self.about.name, self.number)
    }

    fn json(&self) -> Value {
        let Self { number, revision, about, tiding, count, .. } = self;
        let About { kind, name, namespace, uid } = about;
        let moment = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut object = json!({ "apiVersion": API_VERSION, "kind": kind, "name": name, "uid": uid });
        if let Some(object) = object.as_object_mut().filter(|_| !namespace.is_empty()) {
            object.insert("namespace".to_owned(), json!(namespace));
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": self.name(), "namespace": about.event_namespace(),
                "uid": format!("event-{number:x}"), "resourceVersion": revision.to_string(),
                "creationTimestamp": moment(self.first),
            },
            "involvedObject": object,
            "type": if tiding.warning { "Warning" } else { "Normal" },
            "reason": tiding.reason,
            "message": tiding.message,
            "source": { "component": "lb" },
            "reportingComponent": "lb",
            "reportingInstance": "",
            "eventTime": null,
            "firstTimestamp": moment(self.first),
            "lastTimestamp": moment(self.last),
            "count": count,
        })
    }

    fn entry(&self, revision: u64, happened: Happened) -> Entry {
        Entry {
            revision,
            happened,
            resource: EVENTS,
            namespace: self.about.event_namespace().to_owned(),
            name: self.name(),
            labels_before: (happened != Happened::Added).then(BTreeMap::new),
            labels: BTreeMap::new(),
            text: self.json().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(events: &Events, message: &str) {
        let about = LoadBalancer::new("shop", "front");
        let tiding = Tiding { warning: false, reason: "Ready".into(), message: message.into() };
        events.log().add(About::load_balancer(&about), tiding, Timestamp::UNIX_EPOCH, &events.changes);
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
        assert_eq!(
            (&event["metadata"]["namespace"], &event["involvedObject"]),
            (&json!("default"), &involved)
        );
        assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("PoolExhausted")));
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
