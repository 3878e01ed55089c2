//! Leases that a load balancer has left in another network, and that can't be given back yet.
//!
//! Each is stored beside the load balancer's own, as `name@interface.vlan`: no object's name has an `@`.

use crate::model::meta::NamespacedName;

const AT: char = '@';

/// Under what a lease is stored that `lb` has left in a network.
pub fn key(lb: &NamespacedName, (interface, vlan): (&str, u16)) -> NamespacedName {
    let NamespacedName { namespace, name } = owner(lb);
    NamespacedName::new(namespace, format!("{name}{AT}{interface}.{vlan}"))
}

/// Whether it is the key of a lease that was left.
pub fn is_key(key: &NamespacedName) -> bool {
    key.name.contains(AT)
}

/// The load balancer that a lease is or was of.
pub fn owner(key: &NamespacedName) -> NamespacedName {
    let name = key.name.split_once(AT).map_or(key.name.as_str(), |(name, _)| name);
    NamespacedName::new(key.namespace.clone(), name)
}
