//! Kinds of objects, as people name them.

use clap::ValueEnum;
use serde_json::Value;

use super::path;
use crate::model::schema::{self, Dialect};
use crate::model::{ip_pool, load_balancer};

/// What there are objects of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Kind {
    /// A load balancer
    #[value(name = "loadbalancer", aliases = ["loadbalancers", "lb", "lbs"])]
    LoadBalancer,
    /// A pool of addresses
    #[value(name = "ippool", aliases = ["ippools", "pool", "pools"])]
    IpPool,
}

impl Kind {
    /// As manifests name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::LoadBalancer => load_balancer::KIND,
            Self::IpPool => ip_pool::KIND,
        }
    }

    /// Of a manifest's word.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|kind| kind.name() == name)
    }

    /// The path of one object; a pool has no namespace.
    pub(super) fn path(self, namespace: &str, name: &str) -> String {
        match self {
            Self::LoadBalancer => path::load_balancer(namespace, name),
            Self::IpPool => path::pool(name),
        }
    }

    /// Its JSON Schema.
    pub(super) fn schema(self) -> Value {
        match self {
            Self::LoadBalancer => schema::load_balancer(Dialect::JsonSchema),
            Self::IpPool => schema::ip_pool(Dialect::JsonSchema),
        }
    }
}
