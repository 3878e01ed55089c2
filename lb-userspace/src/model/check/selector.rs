//! Selectors: which labels a VM must have.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::field::Problems;
use crate::model::labels::Labels;
use crate::model::names;
use crate::model::v1alpha1::VM_NAME;

/// Each label must have one of its values. An empty selector matches nothing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selector(BTreeMap<String, BTreeSet<String>>);

impl Selector {
    /// A VM of this name with these labels is chosen: its name is a label of its own, unless it has another there.
    pub fn matches_vm(&self, name: &str, labels: &Labels) -> bool {
        let has = |(key, values): (&String, &BTreeSet<String>)| match labels.get(key) {
            Some(value) => values.contains(value),
            None => key == VM_NAME && values.contains(name),
        };
        !self.0.is_empty() && self.0.iter().all(has)
    }

    /// The values of its first label: whatever it matches has one of them.
    pub fn first_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let first = self.0.iter().take(1);
        first.flat_map(|(key, values)| values.iter().map(move |value| (key.as_str(), value.as_str())))
    }

    pub(super) fn check(raw: &BTreeMap<String, Vec<String>>, problems: &mut Problems) -> Self {
        for (key, values) in raw {
            let path = format!("spec.backendServerSelector[{key:?}]");
            if let Err(rule) = names::label_key(key) {
                problems.add(&path, key, "not a label key", rule.to_string());
            }
            if values.is_empty() {
                problems.add(&path, values, "no value", "list at least one value, or leave the label out");
            }
            for (index, value) in values.iter().enumerate() {
                if let Err(rule) = names::label_value(value) {
                    problems.add(format!("{path}[{index}]"), value, "not a label value", rule.to_string());
                }
            }
        }
        Self(raw.iter().map(|(key, values)| (key.clone(), values.iter().cloned().collect())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(raw: &[(&str, &[&str])]) -> Selector {
        let raw = raw
            .iter()
            .map(|(key, values)| ((*key).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()))
            .collect();
        let mut problems = Problems::default();
        let selector = Selector::check(&raw, &mut problems);
        problems.result(selector).unwrap()
    }

    #[test]
    fn values_are_alternatives_and_keys_are_all_required() {
        let labels = [("tier", "edge"), ("zone", "a"), ("empty", "")].map(|(k, v)| (k.into(), v.into()));
        let labels = Labels::from_iter(labels);
        assert!(selector(&[("tier", &["front", "edge"]), ("zone", &["a"])]).matches_vm("web-1", &labels));
        assert!(!selector(&[("tier", &["front", "edge"]), ("zone", &["b"])]).matches_vm("web-1", &labels));
        assert!(!selector(&[("missing", &["a"])]).matches_vm("web-1", &labels));
        assert!(selector(&[("empty", &[""])]).matches_vm("web-1", &labels));
        assert!(!selector(&[("missing", &[""])]).matches_vm("web-1", &labels));
        assert!(selector(&[(VM_NAME, &["web-1", "x"])]).matches_vm("web-1", &labels), "its name is a label");
        assert!(!selector(&[(VM_NAME, &["web-2"])]).matches_vm("web-1", &labels));
        assert!(!selector(&[]).matches_vm("web-1", &labels), "an empty selector matches nothing");
    }
}
