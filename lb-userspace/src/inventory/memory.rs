//! VMs that are told in memory: for an agent without an inventory, and for tests.

use tokio::sync::watch;

use super::vms::{Facts, Provider};
use crate::model::vm::VirtualMachines;

/// Tells what it was told.
#[derive(Default, Debug)]
pub struct MemoryProvider {
    facts: watch::Sender<Facts>,
}

impl MemoryProvider {
    /// Replaces the facts.
    pub fn tell(&self, vms: VirtualMachines) {
        self.facts.send_replace(Facts { vms: vms.into(), ..Facts::default() });
    }
}

impl Provider for MemoryProvider {
    fn facts(&self) -> watch::Receiver<Facts> {
        self.facts.subscribe()
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::meta::NamespacedName;
    use crate::model::vm::VirtualMachine;

    #[tokio::test]
    async fn facts_are_told_to_all_who_listen() {
        let provider = MemoryProvider::default();
        let mut facts = provider.facts();
        assert_eq!(*facts.borrow(), Facts::default());
        let vms: VirtualMachines = [(NamespacedName::default(), VirtualMachine::default().into())].into();
        provider.tell(vms.clone());
        facts.changed().await.unwrap();
        assert_eq!(*facts.borrow().vms, vms);
    }
}
