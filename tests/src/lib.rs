//! The test kit.

pub mod bench;
#[cfg(test)]
mod cases;
pub mod counters;
pub mod lab;
pub mod machine;
pub mod packet;
pub mod program;
pub mod skip;
