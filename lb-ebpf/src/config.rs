//! CONFIG and the time.

use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use lb_common::config::{ConfigValue, TICK_SHIFT};

/// One entry, written by the agent at any time; a program reads each word as it finds it.
#[btf_map]
static CONFIG: Array<ConfigValue, 1> = Array::new();

/// The configuration, and now.
#[derive(Clone, Copy)]
pub struct Clock {
    /// The configuration.
    pub config: &'static ConfigValue,
    /// Now, as flows count time.
    pub tick: u16,
}

impl Clock {
    /// Reads it.
    #[inline(always)]
    pub fn read() -> Option<Self> {
        Some(Self { config: Self::config()?, tick: Self::tick() })
    }

    /// The configuration alone.
    #[inline(always)]
    pub fn config() -> Option<&'static ConfigValue> {
        CONFIG.get(0)
    }

    /// The tick alone.
    #[inline(always)]
    pub fn tick() -> u16 {
        (nanoseconds() >> TICK_SHIFT) as u16
    }
}

/// The configuration's flags.
#[inline(always)]
pub fn flags() -> u16 {
    CONFIG.get(0).map_or(0, |config| config.flags)
}

/// The time since boot to the nanosecond, for what happens once in a flow.
#[inline(always)]
pub fn exact_nanoseconds() -> u64 {
    // SAFETY: a plain helper call without arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// The time since boot, some milliseconds coarse.
#[inline(always)]
pub fn nanoseconds() -> u64 {
    // SAFETY: a plain helper call without arguments.
    unsafe { bpf_ktime_get_coarse_ns() }
}
