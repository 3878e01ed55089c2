//! The agent's API against the OpenAPI document that it serves, as schemathesis reads it: whatever is sent, nothing
//! fails inside, and what is answered is what the document says.

use std::env;
use std::fs;

use lb_tests::lab::kubectl::LISTEN;
use lb_tests::lab::tools;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, Spec};
use lb_tests::skip::skip;
use serde_json::{Map, Value, json};

/// Checks that need no knowledge of what objects mean: a schema can't say which are refused.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_schema_conformance,unsupported_method,allow_header_conformance,ignored_auth";

#[test]
fn whatever_is_sent_the_api_answers_as_its_document_says() {
    let program = match tools::cached("schemathesis/bin/st") {
        Ok(program) => program,
        Err(reason) => return skip(&reason),
    };
    let seconds = if env::var_os("LB_LONG").is_some() { "600" } else { "20" };
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 1 }).unwrap();
    let text = lab.installation.configuration(Topology::Bridge, Hook::Tc);
    lab.installation.configure(&format!("{text}api:\n  listen: {{address: \"{LISTEN}\"}}\n")).unwrap();
    let agent = lab.start_agent().unwrap();
    let token = lab.installation.json(&["token", "create", "conformance", "--role", "admin"]).unwrap();
    let token = token["token"].as_str().unwrap();

    let home = lab.directory("conformance").unwrap();
    let document = home.join("openapi.json");
    let text = lab.installation.lb(&["schema", "openapi"]).unwrap();
    fs::write(&document, likely(serde_json::from_str(&text).unwrap()).to_string()).unwrap();
    let output = lab
        .node()
        .command(&program.to_string_lossy())
        .current_dir(&home)
        .env("HOME", &home)
        .args(["run", &document.to_string_lossy(), "--url", &format!("https://{LISTEN}")])
        .args(["--tls-verify", "false", "--header", &format!("Authorization: Bearer {token}")])
        .args(["--checks", CHECKS, "--max-time", seconds, "--continue-on-failure", "--no-color"])
        .args(["--request-timeout", "30"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!agent.log().contains("panicked"), "{}", agent.log());
    assert!(lab.installation.json(&["get", "-A"]).is_ok(), "the agent answers still");
}

/// The document with bodies whose values mean something, so that more than the first check sees them, and without
/// what makes an answer go on and on.
fn likely(mut document: Value) -> Value {
    let schemas = document["components"]["schemas"].as_object_mut().unwrap();
    let mut bodies = Map::new();
    for (name, schema) in &*schemas {
        if name.starts_with("io.harvesterhci") && !name.ends_with("List") {
            // Old objects are as free in the document as they come.
            let schema = schemas.get(&name.replace("v1alpha1", "v1beta1")).unwrap_or(schema);
            bodies.insert(format!("{name}.likely"), body(name, schema.clone()));
        }
    }
    schemas.extend(bodies);
    for path in document["paths"].as_object_mut().unwrap().values_mut() {
        let whole = path.pointer("/put/requestBody/content/application~1yaml").cloned();
        if let Some(apply) = path.pointer_mut("/patch/requestBody/content/application~1apply-patch+yaml") {
            *apply = whole.unwrap();
        }
        for operation in path.as_object_mut().unwrap().values_mut() {
            parameters(operation.get_mut("parameters").and_then(Value::as_array_mut));
            let content = operation.pointer_mut("/requestBody/content").and_then(Value::as_object_mut);
            for media in content.into_iter().flat_map(Map::values_mut) {
                if let Some(Value::String(reference)) = media.pointer_mut("/schema/$ref") {
                    reference.push_str(".likely");
                }
            }
        }
        parameters(path.get_mut("parameters").and_then(Value::as_array_mut));
    }
    document
}

fn body(name: &str, mut schema: Value) -> Value {
    narrow(&mut schema);
    let version = if name.contains("v1alpha1") { "v1alpha1" } else { "v1beta1" };
    let kind = name.rsplit('.').next().unwrap();
    let spec = schema["properties"]["spec"].as_object_mut().unwrap();
    spec.insert("required".into(), json!([if kind == "IPPool" { "ranges" } else { "listeners" }]));
    if version == "v1alpha1" {
        let fields = spec["properties"].as_object_mut().unwrap();
        fields.remove("backendServerSelector");
        fields.insert("backendServers".into(), json!({ "enum": [["192.0.2.11"], []] }));
    }
    schema["properties"]["kind"] = json!({ "enum": [kind] });
    schema["properties"]["apiVersion"] =
        json!({ "enum": [format!("loadbalancer.harvesterhci.io/{version}")] });
    schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
    schema
}

fn parameters(all: Option<&mut Vec<Value>>) {
    let Some(all) = all else { return };
    all.retain(|parameter| parameter["name"] != "watch");
    for parameter in all {
        let values = values(parameter["name"].as_str().unwrap());
        if let Some(values) = values {
            parameter["schema"] = values;
        }
    }
}

/// Narrows every field that has likely values, at any depth.
fn narrow(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get_mut("properties") {
                fields(properties);
            }
            map.values_mut().for_each(narrow);
        }
        Value::Array(items) => items.iter_mut().for_each(narrow),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fields(properties: &mut Map<String, Value>) {
    for name in RARE {
        properties.remove(name);
    }
    for (name, schema) in properties {
        if let Some(values) = values(name) {
            *schema = values;
        }
    }
}

/// Fields that hardly any text that is made up is good for: with all of them, nothing would ever be stored.
const RARE: [&str; 16] = [
    "uid",
    "resourceVersion",
    "managedFields",
    "finalizers",
    "generateName",
    "deletionTimestamp",
    "ownerReferences",
    "healthCheck",
    "limits",
    "weights",
    "sessionAffinity",
    "draining",
    "slowStart",
    "loadBalancerSourceRanges",
    "deniedSourceRanges",
    "forwarding",
];

fn values(name: &str) -> Option<Value> {
    Some(match name {
        "name" => json!({ "enum": ["front", "lab"] }),
        "namespace" => json!({ "enum": ["shop"] }),
        "listeners" => {
            let port = json!({ "type": "integer", "minimum": 1, "maximum": 65_535 });
            json!({ "type": "array", "minItems": 1, "maxItems": 1, "items": {
                "type": "object", "required": ["port", "protocol", "backendPort"], "properties": {
                    "port": port, "backendPort": port, "protocol": { "enum": ["TCP", "udp"] },
                },
            } })
        }
        "ipam" => json!({ "enum": ["", "pool"] }),
        "unserved" => json!({ "enum": ["", "Drop"] }),
        "selection" => json!({ "enum": ["", "Random"] }),
        "backendServerSelector" => json!({ "enum": [{ "app": ["web"] }] }),
        "priority" => json!({ "type": "integer", "minimum": 0, "maximum": 9 }),
        "ranges" => json!({ "type": "array", "minItems": 1, "maxItems": 1, "items": {
            "type": "object", "required": ["subnet"], "properties": {
                "subnet": { "enum": ["192.0.2.0/24", "198.51.100.0/28", "2001:db8::/64"] },
            },
        } }),
        "workloadType" => json!({ "enum": ["", "vm", "cluster"] }),
        "ipPool" => json!({ "enum": ["", "lab"] }),
        "address" | "network" => json!({ "enum": [""] }),
        "labels" | "annotations" => json!({ "type": "object", "maxProperties": 0 }),
        "fieldManager" => json!({ "enum": ["one", "two"] }),
        "resourceVersion" => json!({ "enum": ["", "0", "1"] }),
        _ => return None,
    })
}
