//! Servers in VMs: real ones as processes, and one of ours that echoes.

pub mod crowd;
pub mod dhcp;
pub mod dns;
pub mod echo;
pub mod grpc;
pub mod http;
pub mod iperf;
