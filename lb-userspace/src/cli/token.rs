//! `lb token`.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{Client, RequestError};
use super::output::{self, Format};
use crate::config::parse_duration;
use crate::model::grant::Role;

#[derive(Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Give somebody a token, which is shown once
    Create(Wish),
    /// List tokens, without their secrets
    List,
    /// Take a token back; it is no good at once
    Revoke {
        /// The token's name
        name: String,
    },
}

/// What a new token is good for.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  lb token create ci --role editor --namespace shop --expires 720h
  lb token create monitoring --role viewer")]
pub(super) struct Wish {
    /// The token's name
    pub(super) name: String,
    /// What it is good for: admin is everything, editor is load balancers, viewer is reading
    #[arg(long, value_enum, default_value_t = RoleName::Viewer, value_name = "ROLE")]
    role: RoleName,
    /// In these namespaces alone [default: in all]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub(super) namespace: Vec<String>,
    /// How long it is good, as 60m or 720h [default: until it is revoked]
    #[arg(long, value_name = "DURATION")]
    expires: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleName {
    Admin,
    Editor,
    Viewer,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<String> {
    match &arguments.verb {
        Verb::Create(wish) => {
            let answer = create(client, wish).await?;
            format.show(&answer, || Ok(format!("{}\n", secret(&answer))))
        }
        Verb::List => {
            let answer = client.get("/lb/v1/tokens").await?;
            format.show(&answer, || Ok(table(&answer, Timestamp::now())))
        }
        Verb::Revoke { name } => {
            client.delete(&format!("/lb/v1/tokens/{name}")).await?;
            Ok(format!("token {name} revoked\n"))
        }
    }
}

/// Asks for a token.
pub(super) async fn create(client: &Client, wish: &Wish) -> anyhow::Result<Value> {
    let role = match wish.role {
        RoleName::Admin => Role::Admin,
        RoleName::Editor => Role::Editor,
        RoleName::Viewer => Role::Viewer,
    };
    let seconds = wish.expires.as_deref().map(parse_duration).transpose()?.map(|duration| duration.as_secs());
    let body = json!({
        "name": wish.name,
        "grant": { "role": role.name(), "namespaces": wish.namespace },
        "expiresSeconds": seconds,
    });
    let answer: Result<Value, RequestError> = client.post("/lb/v1/tokens", &body).await;
    Ok(answer?)
}

/// The token itself.
pub(super) fn secret(answer: &Value) -> &str {
    answer.get("token").and_then(Value::as_str).unwrap_or_default()
}

fn table(answer: &Value, now: Timestamp) -> String {
    let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let row = |item: &Value| {
        let word = |pointer: &str| item.pointer(pointer).and_then(Value::as_str);
        let namespaces = item.pointer("/grant/namespaces").and_then(Value::as_array);
        let namespaces: Vec<&str> = namespaces.into_iter().flatten().filter_map(Value::as_str).collect();
        [
            word("/name").unwrap_or_default().to_owned(),
            word("/grant/role").unwrap_or_default().to_owned(),
            if namespaces.is_empty() { "all".to_owned() } else { namespaces.join(",") },
            output::age(word("/created"), now),
            word("/expires").unwrap_or("never").to_owned(),
        ]
    };
    output::table(["NAME", "ROLE", "NAMESPACES", "AGE", "EXPIRES"], items.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_in_a_table_without_secrets() {
        let answer = json!({"items": [
            {"name": "ci", "grant": {"role": "editor", "namespaces": ["bank", "shop"]},
             "created": "2026-01-01T00:00:00Z", "expires": "2026-02-01T00:00:00Z"},
            {"name": "me", "grant": {"role": "admin"}, "created": "2026-01-01T00:00:00Z", "expires": null},
        ]});
        let text = table(&answer, "2026-01-01T01:00:00Z".parse().unwrap());
        assert_eq!(
            text,
            "NAME  ROLE    NAMESPACES  AGE  EXPIRES\n\
             ci    editor  bank,shop   60m  2026-02-01T00:00:00Z\n\
             me    admin   all         60m  never\n"
        );
    }
}
