//! The test kit.

pub mod lab;
pub mod skip;
