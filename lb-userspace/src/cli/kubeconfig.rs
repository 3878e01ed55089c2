//! `lb kubeconfig`: what kubectl needs to reach the agent.

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::token::{self, Wish};

#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb kubeconfig admin --role admin > ~/.kube/lb
  lb kubeconfig shop --role editor --namespace shop --server https://node-1.example.org:6443

The token in it is new, and listed by `lb token list`. The agent has to listen at a port: api.listen in its configuration.")]
pub(super) struct Arguments {
    #[command(flatten)]
    token: Wish,
    /// How kubectl reaches the agent [default: the agent's address and port]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

pub(super) async fn run(client: &Client, arguments: &Arguments) -> anyhow::Result<String> {
    let listener = client.get("/lb/v1/listener").await?;
    let word = |name: &str| listener.get(name).and_then(Value::as_str).unwrap_or_default();
    let server = arguments.server.clone().unwrap_or_else(|| format!("https://{}", word("address")));
    let answer = token::create(client, &arguments.token).await?;
    let namespace = match arguments.token.namespace.as_slice() {
        [one, ..] => one,
        [] => "default",
    };
    let config = config(&server, word("authority"), &arguments.token.name, token::secret(&answer), namespace);
    serde_saphyr::to_string(&config).context("cannot write the configuration")
}

fn config(server: &str, authority: &str, user: &str, token: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "lb",
            "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(authority) },
        }],
        "users": [{ "name": user, "user": { "token": token } }],
        "contexts": [{ "name": "lb", "context": { "cluster": "lb", "user": user, "namespace": namespace } }],
        "current-context": "lb",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_server_authority_and_token() {
        let config = config("https://192.0.2.1:6443", "PEM", "ci", "secret", "shop");
        assert_eq!(config["clusters"][0]["cluster"]["certificate-authority-data"], "UEVN");
        assert_eq!(config["users"][0]["user"]["token"], "secret");
        assert_eq!(config["contexts"][0]["context"]["namespace"], "shop");
    }
}
