//! What somebody may do: a role, in all namespaces or in some.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much somebody may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Read, and change load balancers.
    Editor,
    /// Read.
    Viewer,
}

impl Role {
    /// All, in the order in which they are listed to people.
    pub const ALL: [Self; 3] = [Self::Admin, Self::Editor, Self::Viewer];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
        }
    }
}

/// A role and where it holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// How much.
    pub role: Role,
    /// In these namespaces alone; empty is in all, and for what has no namespace.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub namespaces: BTreeSet<String>,
}

/// What a request wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access<'a> {
    /// To learn what is served.
    Discover,
    /// To read objects: of a namespace, or else of all of them or of a kind without.
    Read(Option<&'a str>),
    /// To change load balancers of a namespace.
    Edit(&'a str),
    /// To read the node's state.
    Node,
    /// Anything else: to change pools, see packets, give tokens.
    Rule,
}

impl Grant {
    /// Everything, everywhere.
    pub const fn admin() -> Self {
        Self { role: Role::Admin, namespaces: BTreeSet::new() }
    }

    /// Whether the request is granted.
    pub fn allows(&self, access: Access<'_>) -> bool {
        let is_everywhere = self.namespaces.is_empty();
        let covers = |namespace: &str| is_everywhere || self.namespaces.contains(namespace);
        match access {
            Access::Discover => true,
            Access::Read(Some(namespace)) => covers(namespace),
            Access::Read(None) | Access::Node => is_everywhere,
            Access::Edit(namespace) => self.role != Role::Viewer && covers(namespace),
            Access::Rule => self.role == Role::Admin && is_everywhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, namespaces: &[&str]) -> Grant {
        Grant { role, namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn a_role_holds_in_its_namespaces_alone() {
        let every = [
            Access::Discover,
            Access::Read(Some("shop")),
            Access::Read(Some("bank")),
            Access::Read(None),
            Access::Edit("shop"),
            Access::Edit("bank"),
            Access::Node,
            Access::Rule,
        ];
        for (grant, expected) in [
            (Grant::admin(), [true; 8]),
            (grant(Role::Editor, &[]), [true, true, true, true, true, true, true, false]),
            (grant(Role::Viewer, &[]), [true, true, true, true, false, false, true, false]),
            (grant(Role::Admin, &["shop"]), [true, true, false, false, true, false, false, false]),
            (grant(Role::Editor, &["shop"]), [true, true, false, false, true, false, false, false]),
            (grant(Role::Viewer, &["shop"]), [true, true, false, false, false, false, false, false]),
        ] {
            assert_eq!(every.map(|access| grant.allows(access)), expected, "{grant:?}");
        }
    }
}
