//! JSON Schemas of the resources, made from the types that read them.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::ip_pool::IpPool;
use super::load_balancer::LoadBalancer;

/// Which dialect a schema is written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// JSON Schema 2020-12, for editors.
    JsonSchema,
    /// OpenAPI 3.0, for clients of the API.
    OpenApi,
}

/// Of a LoadBalancer.
pub fn load_balancer(dialect: Dialect) -> Value {
    schema::<LoadBalancer>(dialect)
}

/// Of an IPPool.
pub fn ip_pool(dialect: Dialect) -> Value {
    schema::<IpPool>(dialect)
}

fn schema<T: schemars::JsonSchema>(dialect: Dialect) -> Value {
    let mut settings = match dialect {
        Dialect::JsonSchema => SchemaSettings::draft2020_12(),
        Dialect::OpenApi => SchemaSettings::openapi3(),
    };
    settings.inline_subschemas = true;
    if dialect == Dialect::OpenApi {
        settings.meta_schema = None;
    }
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
        let unknown = prune(&mut object, &load_balancer(Dialect::OpenApi));
        assert_eq!(unknown, ["sepc", "spec.healthCheck.x", "spec.listeners[0].prot"]);
        let expected = json!({
            "kind": "LoadBalancer",
            "metadata": {"labels": {"any": "key"}},
            "spec": {"listeners": [{"port": 80}], "backendServerSelector": {"any": ["key"]}, "healthCheck": {}},
        });
        assert_eq!(object, expected);
    }
}
