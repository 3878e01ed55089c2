//! What becomes of an intent: the resources as they are to be stored, or a refusal.
//!
//! Input: the resources, intents, the time. Output: all outcomes, or why none. Addresses are allocated here, so
//! that an object and its address are one transaction.
//!
//! Architecture invariant: nothing but a specification's writer changes a specification, and none of them
//! changes a status (D17).

mod allocation;
mod load_balancers;
mod patch;
mod pools;
mod refusal;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::resources::{IP_POOLS, LOAD_BALANCERS, Resources};
use crate::model::load_balancer::LoadBalancer;
use crate::model::meta::{NamespacedName, ObjectMeta};
use crate::model::parse::Manifest;
pub use allocation::ALLOCATED;
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
    /// Changes to fields of an existing object (RFC 7396).
    Patch(Reference, Value),
    /// No such object any more.
    Delete(Reference),
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
}

impl Change {
    /// The word that people see.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// What only the world outside knows.
pub struct Stamps<'a> {
    /// RFC 3339.
    pub now: &'a str,
    /// A name that no object ever had.
    pub uid: &'a mut dyn FnMut() -> String,
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
            Ok((reference, change, before)) => changes.push((index, reference, change, before)),
            Err(refusal) => refusals.push(refusal),
        }
    }
    if let Some(refusal) = Refusal::of(refusals) {
        return Err(refusal);
    }
    allocation::settle(resources, &mut draft, stamps.now)?;
    changes.sort_by_key(|(index, ..)| *index);
    let outcome = |(_, reference, change, before): (usize, Reference, Change, Option<Manifest>)| {
        let object = current(&draft, &reference).or(before)?;
        Some(Outcome { object, change })
    };
    let outcomes = changes.into_iter().filter_map(outcome).collect();
    Ok((draft, outcomes))
}

const fn rank(intent: &Intent) -> u8 {
    match intent {
        Intent::Create(Manifest::IpPool(_))
        | Intent::Replace(Manifest::IpPool(_))
        | Intent::Apply(Manifest::IpPool(_))
        | Intent::Patch(Reference::IpPool(_), _) => 0,
        Intent::Create(Manifest::LoadBalancer(_))
        | Intent::Replace(Manifest::LoadBalancer(_))
        | Intent::Apply(Manifest::LoadBalancer(_))
        | Intent::Patch(Reference::LoadBalancer(_), _)
        | Intent::Delete(Reference::LoadBalancer(_)) => 1,
        // A pool goes when nobody has an address of it any more.
        Intent::Delete(Reference::IpPool(_)) => 2,
    }
}

/// What was done to which object, and the object before its deletion.
type Done = (Reference, Change, Option<Manifest>);

fn carry_out(draft: &mut Resources, intent: &Intent, stamps: &mut Stamps<'_>) -> Result<Done, Refusal> {
    match intent {
        Intent::Create(manifest) => {
            let reference = Reference::of(manifest);
            if current(draft, &reference).is_some() {
                return Err(Refusal::AlreadyExists(reference));
            }
            write(draft, manifest.clone(), stamps)
        }
        Intent::Replace(manifest) => {
            let reference = Reference::of(manifest);
            if current(draft, &reference).is_none() {
                return Err(Refusal::NotFound(reference));
            }
            write(draft, manifest.clone(), stamps)
        }
        Intent::Apply(manifest) => write(draft, manifest.clone(), stamps),
        Intent::Patch(reference, changes) => {
            let Some(object) = current(draft, reference) else {
                return Err(Refusal::NotFound(reference.clone()));
            };
            write(draft, patch::merged(reference, &object, changes)?, stamps)
        }
        Intent::Delete(reference) => {
            let removed = match reference {
                Reference::LoadBalancer(key) => load_balancers::delete(draft, key)?,
                Reference::IpPool(name) => pools::delete(draft, name)?,
            };
            Ok((reference.clone(), Change::Deleted, Some(removed)))
        }
    }
}

fn write(draft: &mut Resources, manifest: Manifest, stamps: &mut Stamps<'_>) -> Result<Done, Refusal> {
    let reference = Reference::of(&manifest);
    let change = match manifest {
        Manifest::LoadBalancer(object) => load_balancers::write(draft, *object, stamps)?,
        Manifest::IpPool(object) => pools::write(draft, *object, stamps)?,
    };
    Ok((reference, change, None))
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

/// The metadata as it is to be stored: what the store gives is the store's.
fn metadata(
    reference: &Reference,
    mut given: ObjectMeta,
    stored: Option<&ObjectMeta>,
    spec_changed: bool,
    stamps: &mut Stamps<'_>,
) -> Result<ObjectMeta, Refusal> {
    let Some(stored) = stored else {
        given.uid = (stamps.uid)();
        given.resource_version.clear();
        given.generation = 1;
        given.creation_timestamp = Some(stamps.now.to_owned());
        given.deletion_timestamp = None;
        return Ok(given);
    };
    if !given.resource_version.is_empty() && given.resource_version != stored.resource_version {
        return Err(Refusal::Conflict {
            reference: reference.clone(),
            given: given.resource_version,
            current: stored.resource_version.clone(),
        });
    }
    given.uid.clone_from(&stored.uid);
    given.resource_version.clone_from(&stored.resource_version);
    given.generation = stored.generation + i64::from(spec_changed);
    given.creation_timestamp.clone_from(&stored.creation_timestamp);
    given.deletion_timestamp.clone_from(&stored.deletion_timestamp);
    Ok(given)
}
