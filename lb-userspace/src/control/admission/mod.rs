//! What becomes of an intent: the resources as they are to be stored, or a refusal.
//!
//! Input: the resources, intents, the time. Output: all outcomes, or why none. Addresses are allocated here, so
//! that an object and its address are one transaction.
//!
//! Architecture invariant: nothing but a specification's writer changes a specification, and none of them
//! changes a status (D17). A new pool alone takes from its manifest's status who had which address.

mod allocation;
mod limits;
mod load_balancers;
mod ownership;
mod patch;
mod pool_status;
mod pools;
mod ports;
mod refusal;
mod sharing;
#[cfg(test)]
mod tests;
mod writes;

use std::collections::BTreeMap;

use serde_json::Value;

use self::ownership::Writer;
use super::resources::{IP_POOLS, LOAD_BALANCERS, Resources};
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::NamespacedName;
use crate::model::parse::Manifest;
pub use allocation::{ALLOCATED, ANY, WAITING, serve_waiting};
pub use load_balancers::is_open_to;
pub use ownership::Owned;
pub(crate) use patch::operate;
pub use pool_status::{RELEASED, label};
pub use refusal::Refusal;

/// What a client wants.
#[derive(Clone, PartialEq, Debug)]
pub enum Intent {
    /// A new object.
    Create(Manifest),
    /// Another specification for an existing object.
    Replace(Manifest),
    /// Either of both.
    Apply(Manifest),
    /// Changes to fields of an existing object.
    Patch(Reference, Patch),
    /// Server-side apply: exactly these fields from this writer. Takes those of others if `force`.
    ApplyFields {
        /// The object.
        reference: Reference,
        /// The fields.
        manifest: Value,
        /// Whether others lose fields that they have set.
        force: bool,
    },
    /// No such object any more, once nobody's finalizer is on it.
    Delete(Reference, Preconditions),
}

/// Changes to fields.
#[derive(Clone, PartialEq, Debug)]
pub enum Patch {
    /// RFC 7396.
    Merge(Value),
    /// RFC 6902.
    Json(json_patch::Patch),
}

/// What must hold of the object that is deleted; empty is anything.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Preconditions {
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `metadata.resourceVersion`.
    pub resource_version: String,
}

/// What names an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reference {
    /// A load balancer.
    LoadBalancer(NamespacedName),
    /// A pool.
    IpPool(String),
}

impl Reference {
    /// Of an object.
    pub fn of(manifest: &Manifest) -> Self {
        match manifest {
            Manifest::LoadBalancer(object) => Self::LoadBalancer(object.metadata.key()),
            Manifest::IpPool(object) => Self::IpPool(object.metadata.name.clone()),
        }
    }

    /// The name, without the namespace.
    pub fn name(&self) -> &str {
        match self {
            Self::LoadBalancer(key) => &key.name,
            Self::IpPool(name) => name,
        }
    }

    /// The resource, as in API paths.
    pub const fn resource(&self) -> &'static str {
        match self {
            Self::LoadBalancer(_) => LOAD_BALANCERS,
            Self::IpPool(_) => IP_POOLS,
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::LoadBalancer(key) => write!(f, "LoadBalancer {key}"),
            Self::IpPool(name) => write!(f, "IPPool {name}"),
        }
    }
}

/// What has become of an intent.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The object as stored, or as it was before its deletion.
    pub object: Manifest,
    /// What happened to it.
    pub change: Change,
    /// What somebody should know although it was carried out.
    pub warnings: Vec<String>,
}

/// What happened to an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It is new.
    Created,
    /// It is another.
    Configured,
    /// It was like this already.
    Unchanged,
    /// It is gone.
    Deleted,
    /// It goes when its finalizers are gone.
    Terminating,
}

impl Change {
    /// The word that people see.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
            Self::Terminating => "terminating",
        }
    }
}

/// What only the world outside knows.
pub struct Stamps<'a> {
    /// RFC 3339.
    pub now: &'a str,
    /// A name that no object ever had.
    pub uid: &'a mut dyn FnMut() -> String,
    /// Who writes: the name under which the fields are kept.
    pub manager: &'a str,
    /// The VLANs of networks, by `namespace/name` of the network.
    pub vlans: &'a Vlans,
}

/// The VLANs of networks, by `namespace/name` of the network; what is in none is left out.
pub type Vlans = BTreeMap<String, u16>;

impl Stamps<'_> {
    const fn writer(&self) -> Writer<'_> {
        Writer { manager: self.manager, now: self.now }
    }
}

/// Carries out all intents, or none. Pools go before load balancers, so that a manifest may define both.
///
/// # Errors
/// Everything that is wrong with any of them.
pub fn admit(
    resources: &Resources,
    intents: &[Intent],
    stamps: &mut Stamps<'_>,
) -> Result<(Resources, Vec<Outcome>), Refusal> {
    let mut draft = resources.clone();
    let mut changes = Vec::with_capacity(intents.len());
    let mut refusals = Vec::new();
    let mut ordered: Vec<(usize, &Intent)> = intents.iter().enumerate().collect();
    ordered.sort_by_key(|(_, intent)| rank(intent));
    for (index, intent) in ordered {
        match carry_out(&mut draft, intent, stamps) {
            Ok(done) => changes.push((index, done)),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if let Some(refusal) = Refusal::of(refusals) {
        return Err(refusal);
    }
    allocation::settle(resources, &mut draft, stamps.now)?;
    changes.sort_by_key(|(index, _)| *index);
    let outcome = |(_, done): (usize, Done)| {
        let Done { reference, change, before, warnings } = done;
        let object = current(&draft, &reference).or(before)?;
        Some(Outcome { object, change, warnings })
    };
    let outcomes = changes.into_iter().filter_map(outcome).collect();
    Ok((draft, outcomes))
}

const fn rank(intent: &Intent) -> u8 {
    match intent {
        Intent::Create(Manifest::IpPool(_))
        | Intent::Replace(Manifest::IpPool(_))
        | Intent::Apply(Manifest::IpPool(_))
        | Intent::Patch(Reference::IpPool(_), _)
        | Intent::ApplyFields { reference: Reference::IpPool(_), .. } => 0,
        Intent::Create(Manifest::LoadBalancer(_))
        | Intent::Replace(Manifest::LoadBalancer(_))
        | Intent::Apply(Manifest::LoadBalancer(_))
        | Intent::Patch(Reference::LoadBalancer(_), _)
        | Intent::ApplyFields { reference: Reference::LoadBalancer(_), .. }
        | Intent::Delete(Reference::LoadBalancer(_), _) => 1,
        // A pool goes when nobody has an address of it any more.
        Intent::Delete(Reference::IpPool(_), _) => 2,
    }
}

/// What was done to which object.
struct Done {
    reference: Reference,
    change: Change,
    /// The object before its deletion.
    before: Option<Manifest>,
    warnings: Vec<String>,
}

fn carry_out(draft: &mut Resources, intent: &Intent, stamps: &mut Stamps<'_>) -> Result<Done, Refusal> {
    match intent {
        Intent::Create(manifest) => {
            let manifest = writes::named(manifest.clone(), stamps);
            let reference = Reference::of(&manifest);
            if current(draft, &reference).is_some() {
                return Err(Refusal::AlreadyExists(reference));
            }
            writes::write(draft, manifest, stamps)
        }
        Intent::Replace(manifest) => {
            let reference = Reference::of(manifest);
            if current(draft, &reference).is_none() {
                return Err(Refusal::NotFound(reference));
            }
            writes::write(draft, manifest.clone(), stamps)
        }
        Intent::Apply(manifest) => writes::write(draft, manifest.clone(), stamps),
        Intent::Patch(reference, patch) => {
            let Some(object) = current(draft, reference) else {
                return Err(Refusal::NotFound(reference.clone()));
            };
            writes::write(draft, patch::patched(reference, &object, patch)?, stamps)
        }
        Intent::ApplyFields { reference, manifest, force } => {
            writes::apply(draft, reference, manifest, *force, stamps)
        }
        Intent::Delete(reference, preconditions) => writes::delete(draft, reference, preconditions, stamps),
    }
}

/// The object as it stands.
pub(super) fn current(resources: &Resources, reference: &Reference) -> Option<Manifest> {
    match reference {
        Reference::LoadBalancer(key) => {
            let object = resources.load_balancers.get(key)?;
            Some(Manifest::LoadBalancer(Box::new(LoadBalancer::clone(object))))
        }
        Reference::IpPool(name) => Some(Manifest::IpPool(Box::new(resources.pools.get(name)?.clone()))),
    }
}
