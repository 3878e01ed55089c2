//! What a path names: a resource of a version, all its objects, those of a namespace, or one.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde_json::Value;

use super::failure::Failure;
use crate::control::resources::{IP_POOLS, LOAD_BALANCERS};
use crate::control::tidings::EVENTS;
use crate::model::{ip_pool, load_balancer, v1alpha1};

/// A resource as one version of the API serves it.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Served {
    /// Whose objects they are.
    pub(super) source: Source,
    named: Named,
}

impl std::ops::Deref for Served {
    type Target = Named;

    fn deref(&self) -> &Named {
        &self.named
    }
}

/// What a resource is called, and what it can be asked to do.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Named {
    /// Empty for Kubernetes' core.
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) resource: &'static str,
    pub(super) singular: &'static str,
    pub(super) kind: &'static str,
    pub(super) short_names: &'static [&'static str],
    pub(super) namespaced: bool,
    /// In Kubernetes' words, in alphabetical order.
    pub(super) verbs: &'static [&'static str],
}

/// Where the objects of a resource are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Source {
    LoadBalancers,
    IpPools,
    Events,
}

const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// All that is served; of several versions of a resource, the preferred one first.
pub(super) const SERVED: &[Served] = &[
    Served {
        source: Source::LoadBalancers,
        named: Named {
            group: "loadbalancer.harvesterhci.io",
            version: "v1beta1",
            resource: LOAD_BALANCERS,
            singular: "loadbalancer",
            kind: load_balancer::KIND,
            short_names: &["lb", "lbs"],
            namespaced: true,
            verbs: ALL_VERBS,
        },
    },
    Served {
        source: Source::IpPools,
        named: Named {
            group: "loadbalancer.harvesterhci.io",
            version: "v1beta1",
            resource: IP_POOLS,
            singular: "ippool",
            kind: ip_pool::KIND,
            short_names: &["pool", "pools"],
            namespaced: false,
            verbs: ALL_VERBS,
        },
    },
    Served {
        source: Source::LoadBalancers,
        named: Named {
            group: "loadbalancer.harvesterhci.io",
            version: v1alpha1::VERSION,
            resource: LOAD_BALANCERS,
            singular: "loadbalancer",
            kind: load_balancer::KIND,
            short_names: &["lb", "lbs"],
            namespaced: true,
            verbs: ALL_VERBS,
        },
    },
    Served {
        source: Source::Events,
        named: Named {
            group: "",
            version: "v1",
            resource: EVENTS,
            singular: "event",
            kind: "Event",
            short_names: &["ev"],
            namespaced: true,
            verbs: &["get", "list", "watch"],
        },
    },
];

impl Named {
    /// As manifests name it: `group/version`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The path below which the resource is, without a slash at the end.
    pub(super) fn root(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }

    /// Whether a verb is served.
    pub(super) fn allows(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
}

impl Served {
    /// Whether objects are stored in another version than this.
    pub(super) fn is_old(&self) -> bool {
        self.version == v1alpha1::VERSION
    }

    /// What its clients are to be warned of, if there is a newer version.
    pub(super) fn deprecation(&self) -> Option<String> {
        let preferred = SERVED.iter().find(|served| served.source == self.source)?;
        let is_newer = preferred.version != self.version;
        is_newer.then(|| {
            let kind = self.kind;
            format!("{} {kind} is deprecated; use {} {kind}", self.api_version(), preferred.api_version())
        })
    }

    /// A stored object, as this version has it.
    pub(super) fn shown(&self, object: Value) -> Value {
        if self.is_old() { v1alpha1::from_v1beta1(&object) } else { object }
    }
}

/// What a path names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Target {
    pub(super) served: &'static Served,
    /// `None` is all of them, or a resource without namespaces.
    pub(super) namespace: Option<String>,
    /// `None` is all objects.
    pub(super) name: Option<String>,
}

impl Target {
    /// `None` if the path names no resource.
    pub(super) fn of(path: &str) -> Option<Self> {
        SERVED.iter().find_map(|served| {
            let rest = path.strip_prefix(&served.root())?.strip_prefix('/')?;
            let parts: Vec<&str> = rest.split('/').collect();
            let (namespace, rest) = match parts.as_slice() {
                ["namespaces", namespace, rest @ ..] if served.namespaced && !rest.is_empty() => {
                    (Some((*namespace).to_owned()), rest)
                }
                rest => (None, rest),
            };
            match rest {
                [resource] if *resource == served.resource => Some(Self { served, namespace, name: None }),
                [resource, name]
                    if *resource == served.resource && (namespace.is_some() || !served.namespaced) =>
                {
                    Some(Self { served, namespace, name: Some((*name).to_owned()) })
                }
                _ => None,
            }
        })
    }

    /// The name; empty for a collection.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The namespace; empty for none.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

impl<S: Sync> FromRequestParts<S> for Target {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Self::of(parts.uri.path()).ok_or_else(|| Failure::no_such_path(parts.uri.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: &str = "/apis/loadbalancer.harvesterhci.io/v1beta1";

    #[test]
    fn a_path_names_a_collection_or_an_object() {
        for (path, resource, namespace, name) in [
            ("/loadbalancers", LOAD_BALANCERS, "", ""),
            ("/namespaces/shop/loadbalancers", LOAD_BALANCERS, "shop", ""),
            ("/namespaces/shop/loadbalancers/front", LOAD_BALANCERS, "shop", "front"),
            ("/ippools", IP_POOLS, "", ""),
            ("/ippools/lab", IP_POOLS, "", "lab"),
        ] {
            let target = Target::of(&format!("{GROUP}{path}")).unwrap();
            assert_eq!(
                (target.served.resource, target.namespace(), target.name()),
                (resource, namespace, name)
            );
        }
        for path in [
            "",
            "/",
            "/loadbalancers/front",
            "/namespaces/shop",
            "/namespaces/shop/ippools",
            "/namespaces/shop/ippools/lab",
            "/ippools/lab/status",
            "/others",
        ] {
            assert_eq!(Target::of(&format!("{GROUP}{path}")), None, "{path}");
        }
    }
}
