//! What a guest tells, and what a VM is by it.

use std::sync::Arc;

use crate::model::vm::{Interface, VirtualMachine};

/// What is known through a guest agent's socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::inventory) enum Told {
    /// The emulator does not serve the socket: the VM does not run.
    Off,
    /// The VM runs, and its agent does not answer.
    Silent,
    /// The interfaces, in the guest's order.
    Interfaces(Vec<Interface>),
}

/// A VM as it is declared, with what its guest tells. Where interfaces are declared, the guest tells the addresses of
/// those alone, and none of one whose address is stated: a guest has bridges of its own, too.
pub(in crate::inventory) fn merge(declared: &Arc<VirtualMachine>, told: &Told) -> Arc<VirtualMachine> {
    let as_declared = || VirtualMachine::clone(declared);
    match told {
        Told::Silent => Arc::clone(declared),
        Told::Off => VirtualMachine { running: false, ..as_declared() }.into(),
        Told::Interfaces(told) if declared.interfaces.is_empty() => {
            VirtualMachine { interfaces: told.clone(), ..as_declared() }.into()
        }
        Told::Interfaces(told) => {
            let interfaces = declared.interfaces.iter().map(|interface| found(interface, told));
            VirtualMachine { interfaces: interfaces.collect(), ..as_declared() }.into()
        }
    }
}

fn found(declared: &Interface, told: &[Interface]) -> Interface {
    let is_meant = |told: &&Interface| match declared.mac {
        Some(mac) => told.mac == Some(mac),
        None => told.name == declared.name,
    };
    let is_stated = !declared.ip_address.is_empty() || !declared.ip_addresses.is_empty();
    match told.iter().find(is_meant).filter(|_| !is_stated) {
        Some(told) => Interface { name: declared.name.clone(), ..told.clone() },
        None => declared.clone(),
    }
}
