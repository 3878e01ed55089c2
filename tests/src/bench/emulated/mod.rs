//! Rig C: instructions, counted by an emulated machine, which are the same every time.

pub mod clock;
pub mod inside;
