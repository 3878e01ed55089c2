//! JSON Schemas of the resources, made from the types that read them.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::ip_pool::IpPool;
use super::load_balancer::LoadBalancer;

/// Of a LoadBalancer.
pub fn load_balancer() -> Value {
    schema::<LoadBalancer>()
}

/// Of an IPPool.
pub fn ip_pool() -> Value {
    schema::<IpPool>()
}

fn schema<T: schemars::JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The fields of a value that a schema does not know, as `spec.listeners[0].prot`, taken away from the value.
/// Maps with keys of any name, and objects whose schema names no fields, may hold anything.
pub fn prune(value: &mut Value, schema: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(value, schema, "", &mut unknown);
    unknown
}

fn walk(value: &mut Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let Some(properties) = properties else { return };
            map.retain(|key, _| {
                let is_known = properties.contains_key(key);
                if !is_known {
                    unknown.push(joined(path, key));
                }
                is_known
            });
            for (key, inner) in map {
                if let Some(schema) = properties.get(key) {
                    walk(inner, schema, &joined(path, key), unknown);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = schema.get("items") else { return };
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, schema, &format!("{path}[{index}]"), unknown);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_are_named_and_taken_away() {
        let mut object = json!({
            "kind": "LoadBalancer", "sepc": 1,
            "metadata": {"labels": {"any": "key"}},
            "spec": {"listeners": [{"port": 80, "prot": "TCP"}], "backendServerSelector": {"any": ["key"]}, "healthCheck": {"x": 1}},
        });
        let unknown = prune(&mut object, &load_balancer());
        assert_eq!(unknown, ["sepc", "spec.healthCheck.x", "spec.listeners[0].prot"]);
        let expected = json!({
            "kind": "LoadBalancer",
            "metadata": {"labels": {"any": "key"}},
            "spec": {"listeners": [{"port": 80}], "backendServerSelector": {"any": ["key"]}, "healthCheck": {}},
        });
        assert_eq!(object, expected);
    }
}
