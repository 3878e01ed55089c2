//! Bearer tokens as they are kept: never the token itself, only what it hashes to.

use serde::{Deserialize, Serialize};

use crate::model::grant::Grant;

/// The resource name of their keys in the store.
pub const TOKENS: &str = "tokens";

/// A token that was given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// Who has it.
    pub name: String,
    /// SHA-256 of the token, in hexadecimal digits. Tokens are random and long: nothing slower is needed.
    pub hash: String,
    /// What it is good for.
    #[serde(flatten)]
    pub grant: Grant,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339; absent is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Token {
    /// Whether it is good at a moment.
    pub fn is_good(&self, now: jiff::Timestamp) -> bool {
        let moment = |text: &String| text.parse::<jiff::Timestamp>();
        // A moment that can't be read is over.
        self.expires.as_ref().is_none_or(|expires| moment(expires).is_ok_and(|expires| now < expires))
    }
}
