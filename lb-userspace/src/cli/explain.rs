//! `lb explain`: what the fields of a manifest mean, from the schema that editors use as well.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::kind::Kind;
use crate::model::meta::API_VERSION;

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb explain loadbalancer
  lb explain lb.spec.listeners
  lb explain pool.spec --recursive")]
pub(super) struct Arguments {
    /// KIND[.FIELD[.FIELD…]], for example loadbalancer.spec.healthCheck
    #[arg(value_name = "PATH")]
    path: String,
    /// All fields below as well, without what they mean
    #[arg(long)]
    recursive: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<String> {
    let mut words = arguments.path.split('.');
    let kind = kind(words.next().unwrap_or_default())?;
    let root = kind.schema();
    let (mut schema, mut path) = (&root, String::new());
    for word in words {
        let inside = inner(schema);
        // An index is as good as none: all elements are alike.
        let name = word.split('[').next().unwrap_or_default();
        let Some(field) = inside.pointer(&format!("/properties/{name}")) else {
            let place = if path.is_empty() { kind.name() } else { path.as_str() };
            let known: Vec<&str> = fields(inside).map(|(name, _)| name).collect();
            match known.as_slice() {
                [] => bail!("{place} is {} and has no field {name:?}", kind_of(schema)),
                known => bail!("{place} has no field {name:?}; it has {}", known.join(", ")),
            }
        };
        path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        schema = field;
    }
    Ok(text(kind, &path, schema, arguments.recursive))
}

fn kind(word: &str) -> anyhow::Result<Kind> {
    Kind::from_str(word, true).ok().with_context(|| {
        format!("{word:?} is no kind of object; use loadbalancer or ippool, for example loadbalancer.spec")
    })
}

fn text(kind: Kind, path: &str, schema: &Value, recursive: bool) -> String {
    let mut text = format!("KIND:   {}, {API_VERSION}\n", kind.name());
    if !path.is_empty() {
        super::line(&mut text, format_args!("FIELD:  {path} <{}>", kind_of(schema)));
    }
    super::line(&mut text, format_args!("\n{}", meaning(schema)));
    let inside = inner(schema);
    if fields(inside).next().is_some() {
        text.push_str("\nFIELDS:\n");
        list(&mut text, inside, 1, recursive);
    }
    text
}

fn list(text: &mut String, schema: &Value, depth: usize, recursive: bool) {
    let indent = "  ".repeat(depth);
    let required = schema.get("required").and_then(Value::as_array);
    for (name, field) in fields(schema) {
        let is_required = required.is_some_and(|required| required.iter().any(|one| one == name));
        let suffix = if is_required { ", required" } else { "" };
        super::line(text, format_args!("{indent}{name} <{}{suffix}>", kind_of(field)));
        if recursive {
            list(text, inner(field), depth + 1, recursive);
        } else {
            super::line(text, format_args!("{indent}  {}", meaning(field)));
        }
    }
}

fn fields(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, field)| (name.as_str(), field))
}

/// What may be there beside nothing.
fn present(schema: &Value) -> &Value {
    let choices = schema.get("anyOf").and_then(Value::as_array);
    let is_something = |choice: &&Value| choice.get("type").is_none_or(|kind| kind != "null");
    choices.and_then(|choices| choices.iter().find(is_something)).unwrap_or(schema)
}

/// The schema that names the fields: of a list, that of its elements; of a map, that of its values.
fn inner(schema: &Value) -> &Value {
    let schema = present(schema);
    match schema.get("items").or_else(|| schema.get("additionalProperties")) {
        Some(below @ Value::Object(_)) => inner(below),
        Some(_) | None => schema,
    }
}

fn kind_of(schema: &Value) -> String {
    let schema = present(schema);
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or("anything")
        }
        Some(_) | None => "anything",
    };
    match (kind, schema.get("items"), schema.get("additionalProperties")) {
        ("array", Some(below), _) => format!("list of {}", kind_of(below)),
        ("array", None, _) => "list".to_owned(),
        ("object", _, Some(below @ Value::Object(_))) => format!("map of {}", kind_of(below)),
        (kind, _, _) => kind.to_owned(),
    }
}

/// The description, without the marks of the language that it was written in.
fn meaning(schema: &Value) -> String {
    let own = schema.get("description").or_else(|| present(schema).get("description"));
    let text = own.and_then(Value::as_str).unwrap_or("It is not said what it means.");
    text.replace("[`", "`").replace("`]", "`").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(path: &str, recursive: bool) -> anyhow::Result<String> {
        run(&Arguments { path: path.into(), recursive })
    }

    #[test]
    fn a_field_is_explained_with_those_below_it() {
        insta::assert_snapshot!(explain("lb.spec.listeners", false).unwrap());
    }

    #[test]
    fn every_field_has_a_meaning() {
        for kind in ["loadbalancer", "ippool"] {
            let all = explain(kind, true).unwrap();
            assert!(all.contains("spec <object>"), "{all}");
            let mut paths = vec![kind.to_owned()];
            while let Some(path) = paths.pop() {
                let text = explain(&path, false).unwrap();
                assert!(!text.contains("not said"), "{path}: {text}");
                let below = text.lines().skip_while(|line| *line != "FIELDS:").skip(1);
                let names =
                    below.filter(|line| !line.starts_with("   ")).filter_map(|l| l.split_whitespace().next());
                paths.extend(names.map(|name| format!("{path}.{name}")));
            }
        }
    }

    #[test]
    fn a_wrong_path_is_told_what_there_is() {
        for (path, expected) in [
            ("service.spec", "use loadbalancer or ippool"),
            (
                "lb.spce",
                "LoadBalancer has no field \"spce\"; it has apiVersion, kind, metadata, spec, status",
            ),
            ("lb.spec.listeners.prot", "spec.listeners has no field \"prot\""),
            ("lb.spec.listeners[0].port.x", "spec.listeners.port is integer and has no field \"x\""),
        ] {
            let error = explain(path, false).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
