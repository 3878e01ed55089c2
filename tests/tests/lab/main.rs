//! Ring 3: real clients and servers in network namespaces, balanced by the real agent and its packet programs.

mod agent;
mod alike;
mod backend_life;
mod balancing;
mod cli;
mod conformance;
mod crowd;
mod demo;
mod dhcp;
mod doctor;
mod fixture;
mod flood;
mod found;
mod fragments;
mod health;
mod kubectl;
mod mistakes;
mod narrow;
mod observe;
mod origins;
mod payload;
mod policies;
mod processes;
mod servers;
mod vm;
mod wiring;
