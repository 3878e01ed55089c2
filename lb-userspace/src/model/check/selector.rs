//! Selectors: which labels a VM must have.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::field::Problems;
use crate::model::names;

/// Each label must have one of its values. An empty selector matches nothing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selector(BTreeMap<String, BTreeSet<String>>);

impl Selector {
    /// A VM with these labels is chosen.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |(key, values): (&String, &BTreeSet<String>)| {
            labels.get(key).is_some_and(|value| values.contains(value))
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
        let labels: BTreeMap<String, String> =
            [("tier", "edge"), ("zone", "a"), ("empty", "")].map(|(k, v)| (k.into(), v.into())).into();
        assert!(selector(&[("tier", &["front", "edge"]), ("zone", &["a"])]).matches(&labels));
        assert!(!selector(&[("tier", &["front", "edge"]), ("zone", &["b"])]).matches(&labels));
        assert!(!selector(&[("missing", &["a"])]).matches(&labels));
        assert!(selector(&[("empty", &[""])]).matches(&labels));
        assert!(!selector(&[("missing", &[""])]).matches(&labels));
        assert!(!selector(&[]).matches(&labels), "an empty selector matches nothing");
    }
}
