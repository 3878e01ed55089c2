//! What is known of objects that are followed, so that each change is shown once.

use std::collections::BTreeMap;

use serde_json::Value;

/// One change of one object.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Change {
    /// In Kubernetes' words.
    pub(super) happened: &'static str,
    /// The object, or what it was last.
    pub(super) object: Value,
}

impl Change {
    pub(super) fn is_deletion(&self) -> bool {
        self.happened == DELETED
    }
}

/// The agent does not know any more what has changed: only a list tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the watch can't go on")]
pub(super) struct Expired;

const ADDED: &str = "ADDED";
const MODIFIED: &str = "MODIFIED";
const DELETED: &str = "DELETED";

/// Namespace and name.
type Key = (String, String);

/// The objects as they were shown last.
#[derive(Default, Debug)]
pub(super) struct Seen {
    objects: BTreeMap<Key, Value>,
    revision: u64,
}

impl Seen {
    /// Up to where everything is seen.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// What is new in a list.
    pub(super) fn list(&mut self, mut answer: Value) -> Vec<Change> {
        self.revision = revision(&answer);
        let items = answer.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
        let before = std::mem::take(&mut self.objects);
        let mut changes = Vec::new();
        for object in items.unwrap_or_default() {
            let known = before.get(&key(&object));
            if known.is_none_or(|known| revision(known) != revision(&object)) {
                let happened = if known.is_some() { MODIFIED } else { ADDED };
                changes.push(Change { happened, object: object.clone() });
            }
            self.objects.insert(key(&object), object);
        }
        let gone = before.into_iter().filter(|(key, _)| !self.objects.contains_key(key));
        changes.extend(gone.map(|(_, object)| Change { happened: DELETED, object }));
        changes
    }

    /// What a line of a watch tells, if it is new.
    pub(super) fn line(&mut self, mut line: Value) -> Result<Option<Change>, Expired> {
        let object = line.get_mut("object").map(Value::take).unwrap_or_default();
        let happened = match line.get("type").and_then(Value::as_str) {
            Some(ADDED) => ADDED,
            Some(MODIFIED) => MODIFIED,
            Some(DELETED) => DELETED,
            Some("BOOKMARK") => {
                self.revision = self.revision.max(revision(&object));
                return Ok(None);
            }
            Some(_) | None => return Err(Expired),
        };
        self.revision = self.revision.max(revision(&object));
        let key = key(&object);
        let is_news = if happened == DELETED {
            self.objects.remove(&key).is_some()
        } else {
            let known = self.objects.insert(key, object.clone());
            known.is_none_or(|known| revision(&known) != revision(&object))
        };
        Ok(is_news.then_some(Change { happened, object }))
    }
}

fn key(object: &Value) -> Key {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("/metadata/namespace"), text("/metadata/name"))
}

fn revision(object: &Value) -> u64 {
    let text = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, revision: u64) -> Value {
        json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": revision.to_string()}})
    }

    fn list(revision: u64, items: &[Value]) -> Value {
        json!({"metadata": {"resourceVersion": revision.to_string()}, "items": items})
    }

    fn told(changes: impl IntoIterator<Item = Change>) -> Vec<(&'static str, Value)> {
        changes.into_iter().map(|change| (change.happened, change.object)).collect()
    }

    #[test]
    fn a_list_tells_what_differs_from_what_was_seen() {
        let mut seen = Seen::default();
        let (a, b) = (object("a", 1), object("b", 2));
        assert_eq!(
            told(seen.list(list(3, &[a.clone(), b.clone()]))),
            [(ADDED, a.clone()), (ADDED, b.clone())]
        );
        assert_eq!(seen.revision(), 3);
        assert_eq!(told(seen.list(list(3, &[a.clone(), b.clone()]))), []);
        let newer = object("a", 4);
        let changes = seen.list(list(5, std::slice::from_ref(&newer)));
        assert_eq!(told(changes), [(MODIFIED, newer), (DELETED, b)]);
    }

    #[test]
    fn a_watch_tells_each_change_once_and_moves_on() {
        let mut seen = Seen::default();
        seen.list(list(1, &[object("a", 1)]));
        let mut line = |happened: &str, object: Value| {
            let told = seen.line(json!({"type": happened, "object": object}));
            (told.map(|change| change.map(|change| change.happened)), seen.revision())
        };
        assert_eq!(line(ADDED, object("a", 1)), (Ok(None), 1), "it is known");
        assert_eq!(line(MODIFIED, object("a", 2)), (Ok(Some(MODIFIED)), 2));
        assert_eq!(line("BOOKMARK", object("", 7)), (Ok(None), 7));
        assert_eq!(line(DELETED, object("a", 2)), (Ok(Some(DELETED)), 7));
        assert_eq!(line(DELETED, object("a", 2)), (Ok(None), 7), "it is gone already");
        assert_eq!(line("ERROR", json!({"code": 410})), (Err(Expired), 7));
    }
}
