//! Ring 2: one program, one packet, through `BPF_PROG_TEST_RUN`, on every hook at which it makes sense.

mod scene;

mod alike;
mod answers;
mod bench;
mod bridge;
mod checksums;
mod endings;
mod events;
mod fragments;
mod frames_v6;
mod fresh;
mod golden;
mod hairpin;
mod icmp_errors;
mod life;
mod masquerade;
mod policy;
mod policy_v6;
mod properties;
mod refused;
mod reuse;
mod router;
mod select;
mod sizes;
mod snapshot;
mod table;
mod too_long;
mod untouched;
mod v6;
mod vlan;
