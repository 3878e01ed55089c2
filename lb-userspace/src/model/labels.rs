//! Labels of VMs: ten thousand VMs have a hundred thousand of them, which rarely change.

use std::collections::BTreeMap;
use std::fmt;

/// Labels in the order of their keys, in two pieces of memory.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Labels {
    /// Each key and its value.
    text: Box<str>,
    /// Where each key, and each value, ends.
    ends: Box<[usize]>,
}

impl Labels {
    /// Keys and values, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        let mut until = move |end: usize| {
            let part = self.text.get(start..end).unwrap_or_default();
            start = end;
            part
        };
        let (ends, _) = self.ends.as_chunks();
        ends.iter().map(move |[key, value]| (until(*key), until(*value)))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(labels: BTreeMap<String, String>) -> Self {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for (key, value) in labels {
            for part in [key, value] {
                text.push_str(&part);
                ends.push(text.len());
            }
        }
        Self { text: text.into(), ends: ends.into() }
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(labels: I) -> Self {
        labels.into_iter().collect::<BTreeMap<_, _>>().into()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn labels_are_those_of_the_map_that_they_were_made_of(map: BTreeMap<String, String>, key: String) {
            let labels = Labels::from(map.clone());
            prop_assert!(labels.iter().eq(map.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
            for key in map.keys().chain([&key]) {
                prop_assert_eq!(labels.get(key), map.get(key).map(String::as_str));
            }
            prop_assert_eq!(map.into_iter().rev().collect::<Labels>(), labels);
        }
    }
}
