//! Parse, don't validate: objects as written become values that can be trusted, or every problem is reported.

mod backend_address;
mod balancing;
mod health_check;
mod listener;
mod load_balancer;
mod policy;
mod pool;
mod pool_others;
mod selector;
mod sharing;
mod words;

pub use backend_address::AddressChoice;
pub use balancing::Balancing;
pub use health_check::{CheckedHealthCheck, CheckedTls, ListenerCheck, ProbeMethod, StatusRange};
pub use listener::{CheckedListener, Port};
pub use load_balancer::CheckedLoadBalancer;
pub use policy::{CheckedLimits, CheckedPolicy, Source};
pub use pool::CheckedPool;
pub use pool_others::{BrokenPool, broken, check_pool};
pub use selector::Selector;
pub use words::{ForwardingMode, Ipam, Selection, Unserved, Workload};
