//! Nudges: idle TCP clients of a dead backend are made to ask, so that they are reset at once instead of
//! finding out at their next word, hours later.
//!
//! Only a client knows the sequence numbers with which a RST counts. It tells them to whoever sends it a SYN in
//! mid-connection: a challenge ACK (RFC 9293 section 3.10.7.4, RFC 5961 section 4). So each client gets one
//! bare SYN in the VIP's name; its challenge meets the packet programs, which answer it with an exact RST, as
//! they answer everything that is sent to a dead backend. What they have answered is closing and is not nudged
//! again; what got lost on the way is.
//!
//! Input: [`model::Ended`], the flow table and the time. Output: segments, through the node's own routes.
//!
//! Architecture invariant: nothing is sent in the name of an address that is not served.

pub mod model;
pub mod socket;
pub mod task;
mod wire;
