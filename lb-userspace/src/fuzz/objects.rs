//! Objects in YAML and JSON.

use serde_json::Value;

use crate::model::load_balancer::LoadBalancer;
use crate::model::parse::{self, Manifest};
use crate::model::v1alpha1 as old;

/// A manifest file.
pub(super) fn manifests(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for document in parse::documents(text) {
        let Ok(Some(header)) = parse::header(&document) else { continue };
        let Ok(manifest) = parse::manifest(&document, &header) else { continue };
        match manifest {
            Manifest::LoadBalancer(object) => load_balancer(*object),
            Manifest::IpPool(object) => {
                let once = object.with_defaults();
                drop(once.check());
                assert_eq!(once.clone().with_defaults(), once, "defaults are filled in once");
                let text = serde_json::to_vec(&once).expect("an object has a JSON form");
                assert_eq!(parse::json(&text).as_ref(), Ok(&once), "what is written is read");
            }
        }
    }
}

fn load_balancer(object: LoadBalancer) {
    let is_good = object.check().is_ok();
    let once = object.with_defaults();
    assert_eq!(once.check().is_ok(), is_good, "defaults make nothing right or wrong");
    assert_eq!(once.clone().with_defaults(), once, "defaults are filled in once");
    let text = serde_json::to_vec(&once).expect("an object has a JSON form");
    assert_eq!(parse::json(&text).as_ref(), Ok(&once), "what is written is read");
}

/// An object of v1alpha1, and what is stored.
pub(super) fn v1alpha1(bytes: &[u8]) {
    let Ok((given, stored)) = parse::json::<(Value, Value)>(bytes) else { return };
    let vm = |address: &str| (!address.is_empty()).then(|| format!("vm-{address}"));
    drop(old::to_v1beta1(&given, None, &vm, Some(&vm)));
    drop(old::to_v1beta1(&given, Some(&stored), &vm, None));
    // What is stored has a form of its own.
    let Ok(stored) = parse::json::<LoadBalancer>(stored.to_string().as_bytes()) else { return };
    let object = serde_json::to_value(&stored).expect("an object has a JSON form");
    let (again, _) = old::to_v1beta1(&old::from_v1beta1(&object), Some(&object), &vm, None);
    let again = parse::json::<LoadBalancer>(again.to_string().as_bytes()).map(|object| object.spec);
    assert_eq!(again, Ok(stored.spec), "what an old client leaves alone stays");
}
