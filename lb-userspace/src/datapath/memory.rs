//! The packet programs' state in memory: the model that plans and tests run against.

use super::Datapath;
use super::model::{Command, Observed};

/// A datapath that moves no packets.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    state: Observed,
}

impl Datapath for Memory {
    type Error = std::convert::Infallible;

    fn observe(&self) -> Result<Observed, Self::Error> {
        Ok(self.state.clone())
    }

    fn execute(&mut self, command: &Command) -> Result<(), Self::Error> {
        let state = &mut self.state;
        match command {
            Command::PutVip(vip, policy) => {
                state.vips.insert(*vip, *policy);
            }
            Command::RemoveVip(vip) => {
                state.vips.remove(vip);
            }
            Command::PutBackend(id, entry) => {
                state.backends.insert(*id, *entry);
            }
            Command::PutTable(index, slots) => {
                state.tables.insert(*index, slots.clone());
            }
            Command::RemoveTable(index) => {
                state.tables.remove(index);
            }
            Command::PutListener(address, entry) => {
                state.listeners.insert(*address, *entry);
            }
            Command::RemoveListener(address) => {
                state.listeners.remove(address);
            }
        }
        Ok(())
    }
}
