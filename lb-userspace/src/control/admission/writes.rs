//! What every write and deletion does, whatever the kind: names, metadata, owners of fields, finalizers.

use serde_json::Value;

use super::ownership::{self, Owned};
use super::{
    Change, Done, Preconditions, Reference, Refusal, Resources, Stamps, current, limits, load_balancers,
    patch, pools,
};
use crate::model::meta::{ManagedFields, ObjectMeta};
use crate::model::parse::Manifest;

/// Finalizers of Harvester's own controllers, whose work is done here: nobody else would ever take them off.
const REPLACED_FINALIZERS: &str = "wrangler.cattle.io/harvester-";

/// Characters that a generated name gets.
const SUFFIX: usize = 5;

/// The object with a name made of `metadata.generateName`, if it has none.
pub(super) fn named(mut manifest: Manifest, stamps: &mut Stamps<'_>) -> Manifest {
    let metadata = metadata_of(&mut manifest);
    if metadata.name.is_empty() && !metadata.generate_name.is_empty() {
        let random: String =
            (stamps.uid)().chars().filter(char::is_ascii_alphanumeric).take(SUFFIX).collect();
        metadata.name = format!("{}{random}", metadata.generate_name);
    }
    manifest
}

/// Creates or replaces an object.
pub(super) fn write(
    draft: &mut Resources,
    manifest: Manifest,
    stamps: &mut Stamps<'_>,
) -> Result<Done, Refusal> {
    let reference = Reference::of(&manifest);
    let live = current(draft, &reference);
    let stored = live.as_ref().map(|live| metadata(live).managed_fields.clone()).unwrap_or_default();
    let given = metadata(&manifest).managed_fields.clone();
    if given != stored {
        limits::check_owners(&reference, &given)?;
    }
    let live = live.as_ref().map(patch::written);
    let complete = with_defaults(manifest, stamps);
    let object = patch::written(&complete);
    limits::check_size(&reference, &object)?;
    let owners = ownership::update(live.as_ref(), (&stored, &given), &object, stamps.writer());
    store(draft, complete, owners, stamps)
}

/// Server-side apply.
pub(super) fn apply(
    draft: &mut Resources,
    reference: &Reference,
    manifest: &Value,
    force: bool,
    stamps: &mut Stamps<'_>,
) -> Result<Done, Refusal> {
    let live = current(draft, reference);
    let managed = live.as_ref().map(|live| metadata(live).managed_fields.clone()).unwrap_or_default();
    let live = live.as_ref().map(patch::written);
    let applied = ownership::apply(live.as_ref(), &managed, manifest, stamps.writer());
    let complete = with_defaults(patch::read(reference, &applied.object)?, stamps);
    let object = patch::written(&complete);
    limits::check_size(reference, &object)?;
    let owners = applied
        .settle(live.as_ref(), &managed, &object, stamps.writer(), force)
        .map_err(|owned: Vec<Owned>| Refusal::Owned { reference: reference.clone(), fields: owned })?;
    store(draft, complete, owners, stamps)
}

/// Removes an object, or marks it if finalizers are on it.
pub(super) fn delete(
    draft: &mut Resources,
    reference: &Reference,
    preconditions: &Preconditions,
    stamps: &Stamps<'_>,
) -> Result<Done, Refusal> {
    let Some(mut object) = current(draft, reference) else {
        return Err(Refusal::NotFound(reference.clone()));
    };
    let metadata = metadata_of(&mut object);
    same(reference, "metadata.uid", &preconditions.uid, &metadata.uid)?;
    let version = &preconditions.resource_version;
    same(reference, "metadata.resourceVersion", version, &metadata.resource_version)?;
    if metadata.finalizers.is_empty() {
        return remove(draft, reference);
    }
    if let Reference::IpPool(name) = reference {
        // What is marked goes one day: then it would be too late to refuse it.
        pools::check_delete(draft, name)?;
    }
    if !metadata.is_terminating() {
        metadata.deletion_timestamp = Some(stamps.now.to_owned());
        metadata.deletion_grace_period_seconds = Some(0);
        match object {
            Manifest::LoadBalancer(object) => {
                draft.load_balancers.insert(object.metadata.key(), (*object).into());
            }
            Manifest::IpPool(object) => {
                draft.pools.insert(object.metadata.name.clone(), *object);
            }
        }
    }
    let (reference, change) = (reference.clone(), Change::Terminating);
    Ok(Done { reference, change, before: None, warnings: Vec::new() })
}

fn store(
    draft: &mut Resources,
    mut manifest: Manifest,
    owners: Vec<ManagedFields>,
    stamps: &mut Stamps<'_>,
) -> Result<Done, Refusal> {
    let reference = Reference::of(&manifest);
    metadata_of(&mut manifest).managed_fields = owners;
    let (change, warnings) = match manifest {
        Manifest::LoadBalancer(object) => (load_balancers::write(draft, *object, stamps)?, Vec::new()),
        Manifest::IpPool(object) => pools::write(draft, *object, stamps)?,
    };
    let is_over = |object: &Manifest| {
        let metadata = metadata(object);
        metadata.is_terminating() && metadata.finalizers.is_empty()
    };
    if current(draft, &reference).as_ref().is_some_and(is_over) {
        return remove(draft, &reference);
    }
    Ok(Done { reference, change, before: None, warnings })
}

fn remove(draft: &mut Resources, reference: &Reference) -> Result<Done, Refusal> {
    let removed = match reference {
        Reference::LoadBalancer(key) => load_balancers::delete(draft, key)?,
        Reference::IpPool(name) => pools::delete(draft, name)?,
    };
    let (reference, change) = (reference.clone(), Change::Deleted);
    Ok(Done { reference, change, before: Some(removed), warnings: Vec::new() })
}

/// The metadata as it is to be stored: what the store gives is the store's.
pub(super) fn stamped(
    reference: &Reference,
    mut given: ObjectMeta,
    stored: Option<&ObjectMeta>,
    spec_changed: bool,
    stamps: &mut Stamps<'_>,
) -> Result<ObjectMeta, Refusal> {
    given.finalizers.retain(|name| !name.starts_with(REPLACED_FINALIZERS));
    let Some(stored) = stored else {
        given.uid = (stamps.uid)();
        given.resource_version.clear();
        given.generation = 1;
        given.creation_timestamp = Some(stamps.now.to_owned());
        given.deletion_timestamp = None;
        given.deletion_grace_period_seconds = None;
        return Ok(given);
    };
    same(reference, "metadata.resourceVersion", &given.resource_version, &stored.resource_version)?;
    same(reference, "metadata.uid", &given.uid, &stored.uid)?;
    if stored.is_terminating() {
        // Whoever waits for its end would wait for one more.
        given.finalizers.retain(|name| stored.finalizers.contains(name));
    }
    given.uid.clone_from(&stored.uid);
    given.resource_version.clone_from(&stored.resource_version);
    given.generation = stored.generation + i64::from(spec_changed);
    given.creation_timestamp.clone_from(&stored.creation_timestamp);
    given.deletion_timestamp.clone_from(&stored.deletion_timestamp);
    given.deletion_grace_period_seconds = stored.deletion_grace_period_seconds;
    Ok(given)
}

/// Whether labels and annotations are alike.
pub(super) fn has_same_keys(stored: &ObjectMeta, new: &ObjectMeta) -> bool {
    stored.labels == new.labels && stored.annotations == new.annotations
}

fn same(reference: &Reference, field: &'static str, given: &str, current: &str) -> Result<(), Refusal> {
    if given.is_empty() || given == current {
        return Ok(());
    }
    let (given, current) = (given.to_owned(), current.to_owned());
    Err(Refusal::Conflict { reference: reference.clone(), field, given, current })
}

fn with_defaults(manifest: Manifest, stamps: &Stamps<'_>) -> Manifest {
    match manifest {
        Manifest::LoadBalancer(object) => Manifest::LoadBalancer(Box::new(object.with_defaults())),
        Manifest::IpPool(object) => {
            let vlan = stamps.vlans.get(&object.spec.selector.network).copied().unwrap_or_default();
            Manifest::IpPool(Box::new(object.with_defaults().with_vlan(vlan)))
        }
    }
}

fn metadata(manifest: &Manifest) -> &ObjectMeta {
    match manifest {
        Manifest::LoadBalancer(object) => &object.metadata,
        Manifest::IpPool(object) => &object.metadata,
    }
}

fn metadata_of(manifest: &mut Manifest) -> &mut ObjectMeta {
    match manifest {
        Manifest::LoadBalancer(object) => &mut object.metadata,
        Manifest::IpPool(object) => &mut object.metadata,
    }
}
