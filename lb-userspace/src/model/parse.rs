//! Manifests in YAML and JSON. Every error tells where: field path, line and column.

use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ip_pool::{self, IpPool};
use super::load_balancer::{self, LoadBalancer};
use super::meta::API_VERSION;

/// One object of a manifest file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Manifest {
    /// A load balancer.
    LoadBalancer(Box<LoadBalancer>),
    /// A pool.
    IpPool(Box<IpPool>),
}

/// A text that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct ParseError {
    /// `spec.listeners[1].port`; empty if the text as a whole is wrong.
    pub path: String,
    /// From 1; 0 if unknown.
    pub line: u64,
    /// From 1; 0 if unknown.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}, column {}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Scalars, lists and maps of one document: an inventory of a hundred thousand VMs has a few millions.
pub const MAX_NODES: usize = 64_000_000;

/// Reads one YAML document.
///
/// # Errors
/// The place at which the text is not what it should be.
pub fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    let budget = serde_saphyr::budget! { max_nodes: MAX_NODES, max_events: 2 * MAX_NODES };
    let options = serde_saphyr::options! { budget: budget };
    // To follow the path takes as long as all the rest: only what is wrong is read with it.
    let read = |deserializer: serde_saphyr::Deserializer<'_, '_>| T::deserialize(deserializer);
    if let Ok(value) = serde_saphyr::with_deserializer_from_str_with_options(text, options.clone(), read) {
        return Ok(value);
    }
    let mut path = String::new();
    let result = serde_saphyr::with_deserializer_from_str_with_options(text, options, |deserializer| {
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            path = shown(error.path());
            error.into_inner()
        })
    });
    result.map_err(|error| {
        let location = error.location();
        ParseError {
            path,
            line: location.map_or(0, |location| location.line()),
            column: location.map_or(0, |location| location.column()),
            message: in_plain_words(&error.without_snippet().to_string()),
        }
    })
}

/// Reads one JSON value.
///
/// # Errors
/// The place at which the text is not what it should be.
pub fn json<T: DeserializeOwned>(text: &[u8]) -> Result<T, ParseError> {
    if let Ok(value) = serde_json::from_slice(text) {
        return Ok(value);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| json_error(shown(error.path()), error.inner()))?;
    deserializer.end().map_err(|error| json_error(String::new(), &error))?;
    Ok(value)
}

/// What a document says it is.
#[derive(Clone, PartialEq, Eq, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Group and version.
    pub api_version: String,
    /// As manifests name it.
    pub kind: String,
}

/// What a YAML document (JSON is YAML, too) says it is; nothing, if it is empty.
///
/// # Errors
/// When it says nothing, or is not YAML.
pub fn header(document: &str) -> Result<Option<Header>, ParseError> {
    yaml(document)
}

/// Reads a YAML document of this header.
///
/// # Errors
/// When it is not a manifest, with its place in the document.
pub fn manifest(document: &str, header: &Header) -> Result<Manifest, ParseError> {
    let unknown = |path: &str, found: &str, remedy: String| {
        let message = format!("`{found}` is not known: use {remedy}");
        Err(ParseError { path: path.to_owned(), line: first_line(document), column: 1, message })
    };
    if header.api_version != API_VERSION {
        return unknown("apiVersion", &header.api_version, format!("`{API_VERSION}`"));
    }
    match header.kind.as_str() {
        load_balancer::KIND => yaml(document).map(Manifest::LoadBalancer),
        ip_pool::KIND => yaml(document).map(Manifest::IpPool),
        other => unknown("kind", other, format!("`{}` or `{}`", load_balancer::KIND, ip_pool::KIND)),
    }
}

/// The documents of a text, split at the lines that YAML reserves for this. Each is kept at its line of the whole.
pub fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for (line, content) in text.lines().enumerate() {
        let is_marker = content == "---" || content.starts_with("--- ");
        if is_marker {
            documents.push("\n".repeat(line));
        }
        if let Some(document) = documents.last_mut() {
            document.push_str(if is_marker { content.get(3..).unwrap_or_default() } else { content });
            document.push('\n');
        }
    }
    documents
}

fn first_line(document: &str) -> u64 {
    let blank = document.lines().take_while(|line| line.trim().is_empty()).count();
    u64::try_from(blank).map_or(0, |blank| blank + 1)
}

fn shown(path: &serde_path_to_error::Path) -> String {
    let path = path.to_string();
    // A text that breaks off has a path that nobody knows.
    if path == "." || path.contains('?') { String::new() } else { path }
}

fn json_error(path: String, error: &serde_json::Error) -> ParseError {
    let number = |place: usize| u64::try_from(place).unwrap_or(0);
    let (line, column) = (number(error.line()), number(error.column()));
    ParseError { path, line, column, message: in_plain_words(&error.to_string()) }
}

/// The parsers repeat the place in their messages, each in its own words.
fn in_plain_words(message: &str) -> String {
    let end = message.find(" at line ").unwrap_or(message.len());
    let message = message.get(..end).unwrap_or(message);
    let message = match message.strip_prefix("error: line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, message)) => message,
        None => message,
    };
    // What Rust calls it is nothing to a reader of manifests.
    message.replace("invalid i64", "not an integer").replace("expected i64", "expected an integer")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LB: &str = "apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: LoadBalancer
metadata: {namespace: shop, name: front}
spec:
  workloadType: vm
  ipam: pool
  ipPool: \"\"
  listeners:
    - {name: web, protocol: TCP, port: 80, backendPort: 8080}
    - {name: dns, protocol: UDP, port: 53, backendPort: 5353}
  backendServerSelector: {tier: [front, edge], zone: [a]}
  healthCheck: {port: 8080, successThreshold: 1, failureThreshold: 3, periodSeconds: 5, timeoutSeconds: 3}
";
    const POOL: &str = "apiVersion: loadbalancer.harvesterhci.io/v1beta1
kind: IPPool
metadata: {name: lab}
spec:
  description: lab pool
  ranges: [{subnet: 10.7.0.0/24, rangeStart: 10.7.0.10, rangeEnd: 10.7.0.20, gateway: 10.7.0.1}]
  selector: {priority: 10, network: default/vlan7, scope: [{project: \"*\", namespace: shop, guestCluster: \"*\"}]}
";

    fn manifests(text: &str) -> Result<Vec<Manifest>, ParseError> {
        let read = |document: String| {
            let header = header(&document).transpose()?;
            Some(header.and_then(|header| manifest(&document, &header)))
        };
        documents(text).into_iter().filter_map(read).collect()
    }

    #[test]
    fn manifests_of_several_documents_are_read_and_survive_a_round_trip() {
        let text = format!("# a comment\n---\n{LB}---\n# nothing here\n--- # a pool\n{POOL}");
        let objects = manifests(&text).unwrap();
        let [Manifest::LoadBalancer(lb), Manifest::IpPool(pool)] = objects.as_slice() else {
            panic!("{objects:?}")
        };
        assert_eq!(lb.spec.listeners[1].backend_port, 5353);
        assert_eq!(pool.spec.selector.scope[0].namespace, "shop");
        let written = serde_saphyr::to_string(lb.as_ref()).unwrap()
            + "---\n"
            + &serde_saphyr::to_string(pool.as_ref()).unwrap();
        assert_eq!(manifests(&written).unwrap(), objects);
        let json = serde_json::to_vec(lb).unwrap();
        assert_eq!(super::json::<LoadBalancer>(&json).as_ref(), Ok(lb.as_ref()));
    }

    #[test]
    fn an_error_names_field_line_and_column() {
        for (text, expected) in [
            (
                format!("{POOL}---\n{}", LB.replace("ipPool:", "ippool:")),
                "line 15, column 3: spec.ippool: unknown field `ippool`",
            ),
            (
                LB.replace("port: 53,", "port: dns,"),
                "line 10, column 40: spec.listeners[1].port: not an integer",
            ),
            (
                LB.replace("kind: LoadBalancer", "kind: Service"),
                "line 1, column 1: kind: `Service` is not known",
            ),
            (
                LB.replace("v1beta1", "v1"),
                "line 1, column 1: apiVersion: `loadbalancer.harvesterhci.io/v1` is",
            ),
            (LB.replace("kind: LoadBalancer\n", ""), "line 3, column 1: missing field `kind`"),
            (LB.replace("port: 80,", ""), "line 9, column 35: spec.listeners[0]: missing field `port`"),
            ("a: [".to_owned(), "line 1, column 4: a: unclosed bracket"),
        ] {
            let error = manifests(&text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_json_error_names_field_line_and_column() {
        let text = br#"{"apiVersion": "v", "kind": "LoadBalancer", "spec": {"listeners": [{"port": "80"}]}}"#;
        let error = json::<LoadBalancer>(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1, column 80: spec.listeners[0].port: invalid type: string \"80\", expected an integer"
        );
        assert!(json::<LoadBalancer>(b"{} x").is_err());
    }
}
