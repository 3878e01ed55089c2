//! Manifest files: what they hold, as the API takes it.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::model::load_balancer;
use crate::model::meta::{API_VERSION, GROUP};
use crate::model::parse::{self, Header, Manifest, ParseError};
use crate::model::v1alpha1;

/// Kubernetes' own ConfigMap.
const CONFIG_MAP: &str = "ConfigMap";

/// What a manifest file holds.
#[derive(Default, Debug)]
pub(super) struct Contents {
    /// Load balancers and pools, of any version.
    pub(super) objects: Vec<Value>,
    /// Kubernetes' ConfigMaps.
    pub(super) config_maps: Vec<Value>,
}

/// Reads a file, or standard input if it is named `-`.
pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    if path != Path::new("-") {
        return std::fs::read_to_string(path)
            .with_context(|| format!("manifest {}: cannot be read", path.display()));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
    Ok(text)
}

/// The load balancers and pools of a text that may hold nothing else. Load balancers without a namespace get this one.
pub(super) fn objects(text: &str, namespace: &str) -> anyhow::Result<Vec<Value>> {
    let Contents { objects, config_maps } = contents(text, namespace)?;
    ensure!(
        config_maps.is_empty(),
        "a {CONFIG_MAP} is nothing to apply; `lb import` takes those of kube-vip"
    );
    ensure!(!objects.is_empty(), "no document in it; write at least one LoadBalancer or IPPool");
    Ok(objects)
}

/// Everything in a text. Documents that list others stand for these.
pub(super) fn contents(text: &str, namespace: &str) -> anyhow::Result<Contents> {
    let mut contents = Contents::default();
    for document in parse::documents(text) {
        let Some(header) = parse::header(&document)? else { continue };
        if !header.kind.ends_with("List") {
            contents.add(&document, &header, namespace)?;
            continue;
        }
        let list: Value = parse::yaml(&document)?;
        let Some(items) = list.get("items").and_then(Value::as_array) else {
            bail!("{}: it has no items", header.kind);
        };
        for (index, item) in items.iter().enumerate() {
            let text = item.to_string();
            let within = |error: ParseError| {
                let path = format!("items[{index}].{}", error.path).trim_end_matches('.').to_owned();
                ParseError { path, line: 0, column: 0, message: error.message }
            };
            let Some(header) = parse::header(&text).map_err(within)? else { continue };
            contents.add(&text, &header, namespace).map_err(within)?;
        }
    }
    Ok(contents)
}

impl Contents {
    fn add(&mut self, document: &str, header: &Header, namespace: &str) -> Result<(), ParseError> {
        match (header.api_version.as_str(), header.kind.as_str()) {
            ("v1", CONFIG_MAP) => self.config_maps.push(parse::yaml(document)?),
            // What is right in an old version is for the agent to say, which converts it.
            (version, load_balancer::KIND) if is_old(version) => {
                self.objects.push(in_namespace(parse::yaml(document)?, namespace));
            }
            _ => self.objects.push(match parse::manifest(document, header)? {
                Manifest::LoadBalancer(object) => in_namespace(json!(object), namespace),
                Manifest::IpPool(object) => json!(object),
            }),
        }
        Ok(())
    }
}

fn is_old(version: &str) -> bool {
    version != API_VERSION && version == format!("{GROUP}/{}", v1alpha1::VERSION)
}

fn in_namespace(mut object: Value, namespace: &str) -> Value {
    let is_missing = |given: Option<&Value>| given.and_then(Value::as_str).is_none_or(str::is_empty);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && is_missing(metadata.get("namespace"))
    {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "
apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: IPPool
metadata: {name: a}
---
---
apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: LoadBalancer
metadata: {name: b}
---
apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: LoadBalancer
metadata: {name: c, namespace: shop}
---
apiVersion: loadbalancer.harvesterhci.io/v1alpha1
kind: LoadBalancer
metadata: {name: d}
spec: {backendServers: [192.0.2.11]}
---
apiVersion: v1
kind: List
items:
- {apiVersion: loadbalancer.harvesterhci.io/v1beta1, kind: LoadBalancer, metadata: {name: e}}
";

    #[test]
    fn every_load_balancer_gets_a_namespace() {
        let objects = objects(STREAM, "default").unwrap();
        let namespaces: Vec<_> = objects.iter().map(|o| o["metadata"]["namespace"].as_str()).collect();
        assert_eq!(namespaces, [None, Some("default"), Some("shop"), Some("default"), Some("default")]);
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_its_place() {
        let deep =
            STREAM.replace("kind: LoadBalancer, metadata: {name: e}", "kind: LoadBalancer, spec: {x: 1}");
        for (text, expected) in [
            ("", "no document in it"),
            ("---\n# nothing\n", "no document in it"),
            ("kind: IPPool\n  metadata: x\n", "line 2"),
            ("apiVersion: v1\nkind: List\n", "List: it has no items"),
            ("apiVersion: v1\nkind: ConfigMap\n", "`lb import` takes"),
            ("---\napiVersion: v1\nkind: Service\n", "line 2, column 1: apiVersion: `v1` is not known"),
            (&deep, "items[0].spec.x: unknown field `x`"),
        ] {
            let error = objects(text, "default").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
