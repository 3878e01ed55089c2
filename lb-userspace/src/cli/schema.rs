//! `lb schema`: what editors and clients need to know of the resources.

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::api::openapi;
use crate::model::schema::{self, Dialect};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb schema loadbalancer > loadbalancer.schema.json
  lb schema openapi

Editors with a YAML language server complete a manifest whose first line is
  # yaml-language-server: $schema=loadbalancer.schema.json")]
pub(super) struct Arguments {
    /// Of what
    #[arg(value_enum)]
    of: Subject,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    /// JSON Schema of a LoadBalancer
    Loadbalancer,
    /// JSON Schema of an IPPool
    Ippool,
    /// OpenAPI document of the API
    Openapi,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<String> {
    text(arguments.of)
}

fn text(of: Subject) -> anyhow::Result<String> {
    let value: Value = match of {
        Subject::Loadbalancer => schema::load_balancer(Dialect::JsonSchema),
        Subject::Ippool => schema::ip_pool(Dialect::JsonSchema),
        Subject::Openapi => openapi::document(),
    };
    Ok(serde_json::to_string_pretty(&value).context("cannot write the schema")? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_schemas_in_the_repository_are_those_of_the_program() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schema");
        for (of, file) in [
            (Subject::Loadbalancer, "loadbalancer.schema.json"),
            (Subject::Ippool, "ippool.schema.json"),
            (Subject::Openapi, "openapi.json"),
        ] {
            let (path, text) = (directory.join(file), text(of).unwrap());
            if std::env::var_os("LB_UPDATE_SNAPSHOTS").is_some() {
                std::fs::write(&path, text).unwrap();
            } else {
                let stored = std::fs::read_to_string(&path).unwrap_or_default();
                assert!(stored == text, "{file} is out of date: run this test with LB_UPDATE_SNAPSHOTS=1");
            }
        }
    }
}
