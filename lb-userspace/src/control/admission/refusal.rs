//! Why an intent is refused.

use std::fmt::Write as _;

use super::{Owned, Reference};
use crate::model::field::FieldError;
use crate::store::StoreError;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such object.
    #[error("{0} does not exist; see `lb get -A` and `lb pool get` for those that do")]
    NotFound(Reference),
    /// The name is taken.
    #[error("{0} exists already; choose another name, or change it with `lb apply`")]
    AlreadyExists(Reference),
    /// Another writer was faster.
    #[error("{reference} has changed: {field} is {current}, not {given}; read it again and repeat")]
    Conflict {
        /// The object.
        reference: Reference,
        /// What tells one state of an object from another.
        field: &'static str,
        /// The version that the writer knows.
        given: String,
        /// The version that is stored.
        current: String,
    },
    /// Fields are wrong.
    #[error("{reference} is refused:{}", listed(fields))]
    Invalid {
        /// The object.
        reference: Reference,
        /// All of them.
        fields: Vec<FieldError>,
    },
    /// Other writers have set the fields that are applied.
    #[error(
        "{reference} is refused: others have set {}; apply with force to take these fields, or leave them out",
        owned(fields)
    )]
    Owned {
        /// The object.
        reference: Reference,
        /// All of them.
        fields: Vec<Owned>,
    },
    /// Several objects of one transaction are refused.
    #[error("nothing is applied:{}", all(.0))]
    Several(Vec<Self>),
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal {
    /// One for all; `None` if there is none.
    pub(super) fn of(mut refusals: Vec<Self>) -> Option<Self> {
        match refusals.len() {
            0 | 1 => refusals.pop(),
            _ => Some(Self::Several(refusals)),
        }
    }
}

impl Refusal {
    /// Another writer was faster: what was meant is gone, or is another object.
    pub fn is_lost_race(&self) -> bool {
        match self {
            Self::NotFound(_) | Self::Conflict { .. } => true,
            Self::Several(all) => all.iter().any(Self::is_lost_race),
            Self::AlreadyExists(_) | Self::Invalid { .. } | Self::Owned { .. } | Self::Store(_) => false,
        }
    }
}

fn listed(fields: &[FieldError]) -> String {
    if let [field] = fields {
        return format!(" {field}");
    }
    lines(fields)
}

fn owned(fields: &[Owned]) -> String {
    let shown: Vec<_> = fields.iter().map(|owned| format!("{} ({})", owned.field, owned.manager)).collect();
    shown.join(", ")
}

fn all(refusals: &[Refusal]) -> String {
    lines(refusals)
}

fn lines(items: &[impl std::fmt::Display]) -> String {
    let mut text = String::new();
    for item in items {
        // Writing to a string can't fail.
        let _ = write!(text, "\n  {}", item.to_string().replace('\n', "\n  "));
    }
    text
}
