//! The agent and its command line.
//!
//! Facts (inventory, ipam, health) flow into `control`, which compares what should be with what is and
//! issues commands (datapath). Features never import one another; only `control` sees both sides.
#![deny(unsafe_code)]

pub mod agent;
pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod datapath;
pub mod doctor;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod health;
pub mod heap;
pub mod inventory;
pub mod ipam;
pub mod model;
pub mod store;
pub mod supervise;
pub mod telemetry;
