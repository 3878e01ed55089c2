//! Clients, as sockets and threads of this process in the client's namespace: a thousand connections cost no
//! thousand processes.

pub mod connection;
pub mod crowd;
pub mod exchange;
pub mod flood;
pub mod http;
pub mod traffic;
