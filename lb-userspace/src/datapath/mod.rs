//! Do it: the state of the packet programs, and the commands that change it.
//!
//! Input: [`model::Command`]. Output: [`model::Observed`]. Two implementations of [`Datapath`]: the kernel's
//! maps and a model of them in memory, for plans and tests.
//!
//! Architecture invariant: only `kernel/` names aya; packets never wait for this code.

pub mod counters;
pub mod flows;
pub mod kernel;
pub mod memory;
pub mod model;
pub mod nudge;
pub mod observe;
pub mod port;
pub mod processes;
pub mod range;
pub mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use counters::Counters;
use flows::FlowTable;
use model::{Command, Observed};
use port::{Port, Served};

/// The door to the packet programs' state.
pub trait Datapath {
    /// What went wrong with one command.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Reads everything back.
    ///
    /// # Errors
    /// When the state can't be read.
    fn observe(&self) -> Result<Observed, Self::Error>;

    /// Executes one command. Doing so again changes nothing.
    ///
    /// # Errors
    /// When the command could not be carried out; the state is then as before.
    fn execute(&mut self, command: &Command) -> Result<(), Self::Error>;

    /// Executes commands that depend on none of each other, together where that is faster.
    ///
    /// # Errors
    /// When one could not be carried out; any of the others may have been.
    fn execute_together(&mut self, commands: &[Command]) -> Result<(), Self::Error> {
        commands.iter().try_for_each(|command| self.execute(command))
    }

    /// Lets the programs work on these interfaces, by interface index, and on no others. What one interface
    /// refuses does not keep the others from being served.
    ///
    /// # Errors
    /// When what is attached can't be found out or detached.
    fn serve(&mut self, ports: &BTreeMap<u32, Port>) -> Result<Served, Self::Error>;

    /// Reads the counters of what is in `observed`.
    ///
    /// # Errors
    /// When they can't be read.
    fn counters(&self, observed: &Observed) -> Result<Counters, Self::Error>;

    /// The flow table, to be read by whoever wants to, beside everything else that is done here.
    fn flow_table(&self) -> Arc<dyn FlowTable>;
}
