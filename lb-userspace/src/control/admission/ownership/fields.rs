//! Sets of fields, and Kubernetes' `FieldsV1` form of them.
//!
//! A field is what is not a map of others: a scalar, a list as a whole, or an empty map. That is how Kubernetes
//! treats custom resources whose schema says nothing else about their lists.

use std::collections::BTreeSet;
use std::ops::Bound;

use serde_json::{Map, Value};

/// The keys from the top of an object down to a field.
pub(super) type Path = Vec<String>;

/// Some of an object's fields.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct FieldSet(BTreeSet<Path>);

impl FieldSet {
    /// The fields of an object.
    pub(super) fn of(object: &Value) -> Self {
        let mut set = BTreeSet::new();
        if object.as_object().is_some_and(|map| !map.is_empty()) {
            collect(object, &mut Vec::new(), &mut set);
        }
        Self(set)
    }

    /// From `FieldsV1`. Elements of lists stand for their list.
    pub(super) fn from_v1(fields: &Value) -> Self {
        let mut set = BTreeSet::new();
        if fields.as_object().is_some_and(|map| !map.is_empty()) {
            collect_v1(fields, &mut Vec::new(), &mut set);
        }
        Self(set)
    }

    /// As `FieldsV1`.
    pub(super) fn to_v1(&self) -> Value {
        let mut top = Value::Object(Map::new());
        for path in &self.0 {
            let mut at = &mut top;
            for key in path {
                let Some(map) = at.as_object_mut() else { break };
                at = map.entry(format!("f:{key}")).or_insert_with(|| Value::Object(Map::new()));
            }
        }
        top
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Path> {
        self.0.iter()
    }

    /// Whether it has the field, one inside of it, or one that it is inside of.
    pub(super) fn touches(&self, path: &[String]) -> bool {
        // In their order, the fields inside of one come right after it.
        let mut from_here = self.0.range::<[String], _>((Bound::Included(path), Bound::Unbounded));
        from_here.next().is_some_and(|own| own.starts_with(path))
            || (0..path.len()).filter_map(|end| path.get(..end)).any(|outer| self.0.contains(outer))
    }

    /// Without those fields that touch any of `others`.
    pub(super) fn without(&self, others: &Self) -> Self {
        Self(self.0.iter().filter(|path| !others.touches(path)).cloned().collect())
    }

    /// The fields of both.
    pub(super) fn with(&self, others: &Self) -> Self {
        Self(self.0.union(&others.0).cloned().collect())
    }

    /// Those fields that `is_wanted`.
    pub(super) fn filter(&self, is_wanted: impl Fn(&[String]) -> bool) -> Self {
        Self(self.0.iter().filter(|path| is_wanted(path)).cloned().collect())
    }
}

/// The value at a path.
pub(super) fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |at, key| at.get(key))
}

/// Takes a field away, and the maps that are empty then.
pub(super) fn remove(object: &mut Value, path: &[String]) {
    let Some((key, rest)) = path.split_first() else { return };
    let Some(map) = object.as_object_mut() else { return };
    if rest.is_empty() {
        map.remove(key);
    } else if let Some(inner) = map.get_mut(key) {
        remove(inner, rest);
        if inner.as_object().is_some_and(Map::is_empty) {
            map.remove(key);
        }
    }
}

/// Lays an object over another: maps are merged, everything else is replaced.
pub(super) fn lay(target: &mut Value, over: &Value) {
    match (target, over) {
        (Value::Object(target), Value::Object(over)) => {
            for (key, value) in over {
                lay(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (target, over) => *target = over.clone(),
    }
}

fn collect(value: &Value, path: &mut Path, set: &mut BTreeSet<Path>) {
    match value.as_object() {
        Some(map) if !map.is_empty() => {
            for (key, inner) in map {
                path.push(key.clone());
                collect(inner, path, set);
                path.pop();
            }
        }
        Some(_) | None => {
            set.insert(path.clone());
        }
    }
}

fn collect_v1(fields: &Value, path: &mut Path, set: &mut BTreeSet<Path>) {
    let inner = fields.as_object().into_iter().flatten();
    let mut is_leaf = true;
    for (key, value) in inner {
        if let Some(key) = key.strip_prefix("f:") {
            is_leaf = false;
            path.push(key.to_owned());
            collect_v1(value, path, set);
            path.pop();
        }
    }
    if is_leaf {
        set.insert(path.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_set_of_fields_survives_the_round_trip_through_kubernetes_form() {
        let object = json!({"spec": {"listeners": [{"port": 80}], "healthCheck": {"port": 1}}, "metadata": {"labels": {}}});
        let set = FieldSet::of(&object);
        let v1 = json!({
            "f:metadata": {"f:labels": {}},
            "f:spec": {"f:healthCheck": {"f:port": {}}, "f:listeners": {}}
        });
        assert_eq!(set.to_v1(), v1);
        assert_eq!(FieldSet::from_v1(&v1), set);
        assert_eq!(FieldSet::from_v1(&json!({})), FieldSet::default());
    }

    #[test]
    fn a_set_touches_what_is_in_it_inside_of_it_or_around_it() {
        let set = FieldSet::of(&json!({"spec": {"check": {"port": 1}, "name": "x"}, "a": 1}));
        let touches = |path: &str| set.touches(&path.split('.').map(str::to_owned).collect::<Vec<_>>());
        for path in ["spec", "spec.check", "spec.check.port", "spec.check.port.more", "spec.name", "a"] {
            assert!(touches(path), "{path}");
        }
        for path in ["spec.ch", "spec.check.other", "spec.zone", "b", "spec.checks"] {
            assert!(!touches(path), "{path}");
        }
        assert!(set.touches(&[]) && !FieldSet::default().touches(&[]));
    }

    #[test]
    fn elements_of_lists_stand_for_their_list() {
        let v1 = json!({"f:metadata": {"f:finalizers": {".": {}, "v:\"a/b\"": {}}, "f:labels": {".": {}, "f:app": {}}}});
        let expected = json!({"metadata": {"finalizers": 0, "labels": {"app": 0}}});
        assert_eq!(FieldSet::from_v1(&v1), FieldSet::of(&expected));
    }
}
