//! Changes to some fields of an object: JSON merge patch (RFC 7396) and JSON patch (RFC 6902).

use json_patch::PatchOperation;
use serde_json::{Value, json};

use super::{Patch, Reference, Refusal};
use crate::model::field::FieldError;
use crate::model::ip_pool::IpPool;
use crate::model::load_balancer::LoadBalancer;
use crate::model::parse::{self, Manifest, ParseError};

/// A copy can double the object; what is moved is walked through.
const MAX_COPIES: usize = 32;
/// Levels that an operation may reach: far more than any field has, far fewer than fill a stack.
const MAX_DEPTH: usize = 64;
/// The longest text that copies may make.
const MAX_BYTES: usize = 4 << 20;

/// The object with the changes.
pub(super) fn patched(reference: &Reference, object: &Manifest, patch: &Patch) -> Result<Manifest, Refusal> {
    let mut value = match patch {
        Patch::Merge(_) => written(object),
        // It may ask for what is in the status.
        Patch::Json(_) => whole(object),
    };
    match patch {
        Patch::Merge(changes) => json_patch::merge(&mut value, changes),
        Patch::Json(operations) => {
            operate(&mut value, operations).map_err(|(path, problem)| refused(reference, path, problem))?;
        }
    }
    read(reference, &value)
}

/// What writers write of an object, as JSON: all but the status, which may be a hundred times as long.
pub(super) fn written(object: &Manifest) -> Value {
    match object {
        Manifest::LoadBalancer(object) => {
            let LoadBalancer { api_version, kind, metadata, spec, .. } = &**object;
            json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec })
        }
        Manifest::IpPool(object) => {
            let IpPool { api_version, kind, metadata, spec, .. } = &**object;
            json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec })
        }
    }
}

fn whole(object: &Manifest) -> Value {
    // Every field of theirs has a JSON form.
    match object {
        Manifest::LoadBalancer(object) => serde_json::to_value(object).unwrap_or_default(),
        Manifest::IpPool(object) => serde_json::to_value(object).unwrap_or_default(),
    }
}

/// The object of a JSON value, which must be the one that is meant.
pub(super) fn read(reference: &Reference, value: &Value) -> Result<Manifest, Refusal> {
    let text = value.to_string();
    let wrong = |error: ParseError| refused(reference, error.path, error.message);
    let object = match reference {
        Reference::LoadBalancer(_) => parse::json(text.as_bytes()).map(Manifest::LoadBalancer),
        Reference::IpPool(_) => parse::json(text.as_bytes()).map(Manifest::IpPool),
    };
    let object = object.map_err(wrong)?;
    if Reference::of(&object) != *reference {
        return Err(refused(reference, "metadata.name".into(), "a patch can't rename".into()));
    }
    Ok(object)
}

fn refused(reference: &Reference, path: String, problem: String) -> Refusal {
    let remedy = "send a patch of the object's fields".into();
    let fields = vec![FieldError { path, value: "the patch".into(), problem, remedy }];
    Refusal::Invalid { reference: reference.clone(), fields }
}

/// Carries out all operations. The error is the path and the problem of the first that fails.
pub(crate) fn operate(object: &mut Value, operations: &json_patch::Patch) -> Result<(), (String, String)> {
    let is_copy =
        |operation: &&PatchOperation| matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_));
    if operations.0.iter().filter(is_copy).count() > MAX_COPIES {
        return Err((String::new(), format!("more than {MAX_COPIES} copies and moves")));
    }
    for operation in &operations.0 {
        if reach(object, operation) > MAX_DEPTH {
            return Err((operation.path().to_string(), format!("more than {MAX_DEPTH} levels")));
        }
        json_patch::patch(object, std::slice::from_ref(operation))
            .map_err(|error| (operation.path().to_string(), error.kind.to_string()))?;
        if is_copy(&operation) && object.to_string().len() > MAX_BYTES {
            return Err((
                operation.path().to_string(),
                format!("the object is longer than {MAX_BYTES} bytes"),
            ));
        }
    }
    Ok(())
}

/// The deepest level that an operation writes to.
fn reach(object: &Value, operation: &PatchOperation) -> usize {
    let below = match operation {
        PatchOperation::Add(add) => depth(&add.value),
        PatchOperation::Replace(replace) => depth(&replace.value),
        PatchOperation::Copy(copy) => object.pointer(copy.from.as_str()).map_or(0, depth),
        PatchOperation::Move(moved) => object.pointer(moved.from.as_str()).map_or(0, depth),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => 0,
    };
    operation.path().tokens().count() + below
}

/// The levels of a value. What is parsed has 128 at most.
pub(super) fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_carried_out_in_order_or_refused_by_path() {
        let operations = |value: Value| serde_json::from_value::<json_patch::Patch>(value).unwrap();
        let mut object = json!({"a": {"b": [1]}});
        let good = json!([
            {"op": "test", "path": "/a/b/0", "value": 1},
            {"op": "add", "path": "/a/b/-", "value": 2},
            {"op": "move", "from": "/a/b", "path": "/c"},
        ]);
        operate(&mut object, &operations(good)).unwrap();
        assert_eq!(object, json!({"a": {}, "c": [1, 2]}));
        let wrong = json!([{"op": "remove", "path": "/x/y"}]);
        assert_eq!(operate(&mut object, &operations(wrong)).unwrap_err().0, "/x/y");
    }

    #[test]
    fn operations_can_not_pile_up_levels_that_no_stack_holds() {
        let value = (0..60).fold(json!(1), |value, _| json!({"a": value}));
        let add = |levels: usize| json!({"op": "add", "path": "/a".repeat(levels), "value": value});
        let operations = |value: Value| serde_json::from_value::<json_patch::Patch>(value).unwrap();
        let mut object = json!({});
        operate(&mut object, &operations(json!([add(1)]))).unwrap();
        assert!(operate(&mut object, &operations(json!([add(40)]))).unwrap_err().1.contains("levels"));
        let copy = json!([{"op": "copy", "from": "/a", "path": "/a".repeat(40)}]);
        assert!(operate(&mut object, &operations(copy)).unwrap_err().1.contains("levels"));
    }

    #[test]
    fn copies_can_not_fill_the_memory() {
        let mut object = json!({"a": ["x".repeat(1000)]});
        let copy = json!({"op": "copy", "from": "/a", "path": "/a/-"});
        let operations = serde_json::from_value(Value::Array(vec![copy; 32])).unwrap();
        assert!(operate(&mut object, &operations).unwrap_err().1.contains("longer"));
    }
}
