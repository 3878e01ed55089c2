//! Resources and facts: Harvester's schema on the outside, checked types on the inside.
//!
//! Input: YAML and JSON text ([`parse`]). [`load_balancer`] and [`ip_pool`] are the objects as users and stores
//! write them; [`check`] turns them into values that can be trusted, or reports every problem at once, each with
//! its field path. Output: [`check::CheckedLoadBalancer`] and [`check::CheckedPool`].
//!
//! Architecture invariant: nothing here knows a clock, a file or a socket.

pub mod age;
pub mod balancing;
pub mod check;
pub mod family;
pub mod field;
pub mod grant;
pub mod health_check;
pub mod ip_pool;
pub mod labels;
pub mod legacy;
pub mod load_balancer;
pub mod meta;
pub mod names;
pub mod parse;
pub mod policy;
pub mod range;
pub mod requirement;
pub mod schema;
pub mod shared;
pub mod sorted;
pub mod v1alpha1;
pub mod vm;
