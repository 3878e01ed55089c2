//! The command line on an API of its own.

mod edits;
mod events;
mod manifests;

use std::path::PathBuf;

use clap::Parser as _;

use super::*;
use crate::api::tests::Server;

/// What a command line that asks this server prints, or says at its end.
async fn lb(server: &Server, words: &[&str]) -> Result<String, String> {
    let arguments =
        Arguments::try_parse_from([&["lb"], words].concat()).map_err(|error| error.to_string())?;
    let Arguments { global, verb } = arguments;
    let result = if let Verb::Diff(arguments) = verb {
        diff::text(&server.client, &arguments).await
    } else {
        answer(&server.client, verb, global.output).await
    };
    result.map_err(|error| sentence(&error))
}

/// Writes a file into the server's directory.
fn file(server: &Server, name: &str, text: &str) -> PathBuf {
    let path = server.directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}
