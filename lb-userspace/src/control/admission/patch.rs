//! JSON merge patch (RFC 7396).

use serde_json::Value;

use super::{Reference, Refusal};
use crate::model::field::FieldError;
use crate::model::parse::{self, Manifest, ParseError};

/// The object with the changes.
pub(super) fn merged(reference: &Reference, object: &Manifest, changes: &Value) -> Result<Manifest, Refusal> {
    let refuse = |path: String, value: &Value, problem: String| Refusal::Invalid {
        reference: reference.clone(),
        fields: vec![FieldError {
            path,
            value: value.to_string(),
            problem,
            remedy: "send a merge patch of the object's fields".into(),
        }],
    };
    let current = match object {
        Manifest::LoadBalancer(object) => serde_json::to_value(object),
        Manifest::IpPool(object) => serde_json::to_value(object),
    };
    let mut value = current.map_err(|error| refuse(String::new(), changes, error.to_string()))?;
    merge(&mut value, changes);
    let text = value.to_string();
    let read = |error: ParseError| refuse(error.path, changes, error.message);
    let patched = match object {
        Manifest::LoadBalancer(_) => {
            parse::json(text.as_bytes()).map(Manifest::LoadBalancer).map_err(read)?
        }
        Manifest::IpPool(_) => parse::json(text.as_bytes()).map(Manifest::IpPool).map_err(read)?,
    };
    if Reference::of(&patched) != *reference {
        return Err(refuse("metadata.name".into(), changes, "a patch can't rename".into()));
    }
    Ok(patched)
}

fn merge(target: &mut Value, changes: &Value) {
    let Value::Object(changes) = changes else {
        *target = changes.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, change) in changes {
        if change.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_rfc_7396_hold() {
        for (target, changes, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &changes);
            assert_eq!(merged, expected, "{target} {changes}");
        }
    }
}
