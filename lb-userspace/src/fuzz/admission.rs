//! Writes of several writers, a line each: `VERB JSON`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::control::admission::{Intent, Patch, Preconditions, Reference, Stamps, Vlans, admit};
use crate::control::resources::Resources;
use crate::model::meta::NamespacedName;
use crate::model::parse::{self, Manifest};

/// Lines that are carried out.
const LINES: usize = 16;

pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut resources = Resources::default();
    for (index, line) in text.lines().take(LINES).enumerate() {
        let Some(intent) = intent(line) else { continue };
        let (now, manager) = (format!("2026-01-01T00:00:{index:02}Z"), format!("writer-{}", index % 3));
        let mut uid = || format!("uid-{index}");
        let mut stamps = Stamps { now: &now, uid: &mut uid, manager: &manager, vlans: &Vlans::new() };
        if let Ok((mut after, _)) = admit(&resources, &[intent], &mut stamps) {
            after.stamp(&resources, resources.revision + 1);
            check(&after);
            resources = after;
        }
    }
}

/// What a line wants, if it says so.
fn intent(line: &str) -> Option<Intent> {
    let (verb, text) = line.split_once(' ')?;
    let value = parse::json::<Value>(text.as_bytes()).ok()?;
    let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("front").to_owned();
    let reference = match value.get("kind").and_then(Value::as_str) {
        Some("IPPool") => Reference::IpPool(name),
        _ => Reference::LoadBalancer(NamespacedName::new("shop", name)),
    };
    Some(match verb {
        "create" => Intent::Create(manifest(&reference, &value)?),
        "replace" => Intent::Replace(manifest(&reference, &value)?),
        "apply" => Intent::Apply(manifest(&reference, &value)?),
        "merge" => Intent::Patch(reference, Patch::Merge(value)),
        "json" => Intent::Patch(reference, Patch::Json(serde_json::from_value(value).ok()?)),
        "fields" | "force" => Intent::ApplyFields { reference, manifest: value, force: verb == "force" },
        "delete" => Intent::Delete(reference, Preconditions::default()),
        _ => return None,
    })
}

fn manifest(reference: &Reference, value: &Value) -> Option<Manifest> {
    let text = value.to_string();
    match reference {
        Reference::LoadBalancer(_) => parse::json(text.as_bytes()).ok().map(Manifest::LoadBalancer),
        Reference::IpPool(_) => parse::json(text.as_bytes()).ok().map(Manifest::IpPool),
    }
}

/// What holds after every write.
fn check(resources: &Resources) {
    let mut given = BTreeSet::new();
    for pool in resources.pools.values() {
        for (address, owner) in &pool.status.allocated {
            assert!(given.insert((address.clone(), owner.clone())), "{address} is given twice");
            let owner: NamespacedName = owner.parse().expect("an owner is a load balancer's name");
            assert!(
                resources.load_balancers.contains_key(&owner),
                "{address} is kept for {owner}, who is gone"
            );
        }
    }
    let addresses: BTreeSet<&String> = given.iter().map(|(address, _)| address).collect();
    assert_eq!(addresses.len(), given.len(), "an address has one owner: {given:?}");
    for (key, object) in &resources.load_balancers {
        assert!(object.check().is_ok(), "{key} is stored although it is wrong");
        let status = &object.status;
        let from_pool = status.allocated_address.as_ref().filter(|allocated| !allocated.ip_pool.is_empty());
        if let Some(allocated) = from_pool {
            let owner = object.shares_address_of().unwrap_or_else(|| key.clone());
            assert!(
                given.contains(&(allocated.ip.clone(), owner.to_string())),
                "{key} has what no pool gave"
            );
        }
        let text = json!(**object).to_string();
        assert_eq!(parse::json(text.as_bytes()).as_ref(), Ok(&**object), "what is stored is read");
    }
}
