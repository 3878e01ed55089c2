//! Which objects of a list or watch are wanted: `labelSelector` and `fieldSelector`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::failure::Failure;
use super::target::{Source, Target};

/// What a reader wants to hear of.
#[derive(Clone, Default, Debug)]
pub(super) struct Filter {
    namespace: Option<String>,
    labels: Vec<Requirement>,
    /// Pointer, wanted value, whether it must be equal.
    fields: Vec<(String, String, bool)>,
}

/// One requirement on a label.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

type Labels = BTreeMap<String, String>;

impl Filter {
    /// Of a path and two selectors.
    pub(super) fn new(target: &Target, labels: &str, fields: &str) -> Result<Self, Failure> {
        let wrong = |name: &str, text: &str, problem: String| {
            Failure::bad_request(format!("{name}: {text:?} is not understood: {problem}"))
        };
        let known = if target.served.source == Source::Events { EVENT_FIELDS } else { FIELDS };
        Ok(Self {
            namespace: target.namespace.clone(),
            labels: parse_labels(labels).map_err(|problem| wrong("labelSelector", labels, problem))?,
            fields: parse_fields(fields, known).map_err(|problem| wrong("fieldSelector", fields, problem))?,
        })
    }

    /// Of events, those about objects of a namespace: what else there is concerns all of them.
    pub(super) fn within_namespaces(&mut self) {
        self.fields.push(("/involvedObject/namespace".to_owned(), String::new(), false));
    }

    /// Whether the labels are wanted.
    pub(super) fn wants_labels(&self, labels: &Labels) -> bool {
        self.labels.iter().all(|requirement| requirement.holds(labels))
    }

    /// Whether the object is, whatever its labels.
    pub(super) fn wants_fields(&self, object: &Value) -> bool {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        self.namespace.as_deref().is_none_or(|namespace| text("/metadata/namespace") == namespace)
            && self.fields.iter().all(|(pointer, value, equal)| (text(pointer) == value) == *equal)
    }

    /// Whether the object is wanted.
    pub(super) fn wants(&self, object: &Value) -> bool {
        self.wants_fields(object) && (self.labels.is_empty() || self.wants_labels(&labels(object)))
    }
}

/// The labels of an object.
fn labels(object: &Value) -> Labels {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    labels.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
        }
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, String> {
    terms(text).into_iter().map(requirement).collect()
}

/// The text cut at its commas, but not at those in parentheses.
fn terms(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let is_end = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(is_end).map(str::trim).filter(|term| !term.is_empty()).collect()
}

fn requirement(term: &str) -> Result<Requirement, String> {
    let key = |text: &str| {
        let text = text.trim();
        crate::model::names::label_key(text)
            .map(|()| text.to_owned())
            .map_err(|rule| format!("{text:?}: {rule}"))
    };
    let values = |text: &str| text.split(',').map(|value| value.trim().to_owned()).collect();
    if let Some((left, right)) = term.split_once("!=") {
        return Ok(Requirement::NotIn(key(left)?, vec![right.trim().to_owned()]));
    }
    if let Some((left, right)) = term.split_once('=') {
        let value = right.trim_start_matches('=').trim();
        return Ok(Requirement::In(key(left)?, vec![value.to_owned()]));
    }
    if let Some((left, list)) = term.strip_suffix(')').and_then(|term| term.split_once('(')) {
        return match left.trim().rsplit_once(char::is_whitespace) {
            Some((left, "in")) => Ok(Requirement::In(key(left)?, values(list))),
            Some((left, "notin")) => Ok(Requirement::NotIn(key(left)?, values(list))),
            Some(_) | None => Err(format!("{term:?}: write KEY in (A, B) or KEY notin (A, B)")),
        };
    }
    match term.strip_prefix('!') {
        Some(absent) => Ok(Requirement::Absent(key(absent)?)),
        None => Ok(Requirement::Exists(key(term)?)),
    }
}

/// Fields that can be selected, in any resource.
const FIELDS: &[&str] = &["metadata.name", "metadata.namespace"];
/// Those of events.
const EVENT_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "involvedObject.apiVersion",
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.uid",
    "reason",
    "type",
];

fn parse_fields(text: &str, known: &[&str]) -> Result<Vec<(String, String, bool)>, String> {
    let field = |term: &str| {
        let (field, value, equal) = match (term.split_once("!="), term.split_once('=')) {
            (Some((field, value)), _) => (field, value, false),
            (None, Some((field, value))) => (field, value.trim_start_matches('='), true),
            (None, None) => return Err(format!("{term:?}: write FIELD=VALUE")),
        };
        let field = field.trim();
        if !known.contains(&field) {
            return Err(format!("field label not supported: {field}; use one of {}", known.join(", ")));
        }
        Ok((format!("/{}", field.replace('.', "/")), value.trim().to_owned(), equal))
    };
    terms(text).into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wants(labels: &str, fields: &str) -> bool {
        let target = Target::of("/apis/loadbalancer.harvesterhci.io/v1beta1/loadbalancers").unwrap();
        let object = json!({"metadata": {"name": "front", "namespace": "shop", "labels": {"app": "web", "zone": "a"}}});
        Filter::new(&target, labels, fields).unwrap().wants(&object)
    }

    #[test]
    fn labels_are_selected_as_kubernetes_does() {
        for (selector, wanted) in [
            ("", true),
            ("app=web", true),
            ("app==web,zone=a", true),
            ("app=db", false),
            ("app!=db", true),
            ("other!=x", true),
            ("app in (web, db),zone notin (b,c)", true),
            ("app notin (web)", false),
            ("other in (x)", false),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("other", false),
        ] {
            assert_eq!(wants(selector, ""), wanted, "{selector}");
        }
    }

    #[test]
    fn fields_are_selected_by_name_and_namespace() {
        for (selector, wanted) in [
            ("metadata.name=front", true),
            ("metadata.name==front,metadata.namespace=shop", true),
            ("metadata.name!=front", false),
            ("metadata.namespace=other", false),
        ] {
            assert_eq!(wants("", selector), wanted, "{selector}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wrong in ["a b", "app within (a)", "-x=1", "=x"] {
            assert!(parse_labels(wrong).is_err(), "{wrong}");
        }
        for wrong in ["metadata.name", "spec.ipam=dhcp"] {
            assert!(parse_fields(wrong, FIELDS).is_err(), "{wrong}");
        }
    }
}
