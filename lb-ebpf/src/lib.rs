//! One packet's journey through the packet programs.
//!
//! `journey` tells the story, one verb a line; every other file is named after the noun that it looks up or
//! after the step that it takes. All programs run the same code, generic over the [`packet::Packet`] (XDP or
//! tc) and the [`family::Family`] of addresses.
//!
//! Only `packet/` touches packet memory and only `flow/slot.rs` touches the flow table's memory. The flow
//! table's publication order relies on x86's total store order: on other machines the agent does not load
//! these programs.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the one way to a compare-and-swap here")
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "offsets and lengths of headers are small; clocks are cut on purpose"
)]
#![expect(clippy::inline_always, reason = "a call costs a packet program time and the verifier's patience")]

pub mod account;
pub mod answer;
pub mod arp;
pub mod assembly;
pub mod backend;
pub mod config;
pub mod event;
pub mod express;
pub mod extension;
pub mod family;
pub mod flow;
pub mod forward;
pub mod fragment;
pub mod headers;
pub mod icmp;
pub mod icmp_error;
pub mod icmpv6;
pub mod journey;
pub mod limit;
pub mod listener;
pub mod mask;
pub mod mtu;
pub mod next_hop;
pub mod observe;
pub mod open;
pub mod order;
pub mod packet;
pub mod parse;
pub mod policy;
pub mod port;
pub mod prefix;
pub mod quote;
pub mod refuse;
pub mod reply;
pub mod rewrite;
pub mod select;
pub mod socket;
pub mod stage;
pub mod stats;
pub mod transmit;
pub mod verdict;
pub mod vlan;
