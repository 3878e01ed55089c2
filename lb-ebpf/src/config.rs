//! CONFIG and the time.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use lb_common::config::ConfigValue;
use lb_common::known::Settings;

/// One entry, written by the agent at any time; a program reads each word as it finds it.
#[btf_map]
static CONFIG: Array<Settings, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

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
        let config = Self::config()?;
        Some(Self { config, tick: Self::tick(config) })
    }

    /// The configuration alone.
    #[inline(always)]
    pub fn config() -> Option<&'static ConfigValue> {
        known().map(|map| &map.config)
    }

    /// The tick alone. The kernel's programs read jiffies where they are; any clock of theirs is a call.
    #[inline(always)]
    pub fn tick(config: &ConfigValue) -> u16 {
        // SAFETY: a plain helper call without arguments.
        config.tick(unsafe { bpf_jiffies64() })
    }
}

/// The configuration, and the addresses that are known.
#[inline(always)]
pub fn known() -> Option<&'static Settings> {
    CONFIG.get(0)
}

/// Notes whether datagrams to VIPs begin flows rather than follow them; nothing is written where that is known.
#[inline(always)]
pub fn note_fresh(known: &Settings, is_so: bool) {
    if known.fresh != u64::from(is_so)
        && let Some(settings) = CONFIG.get_ptr_mut(0)
    {
        // SAFETY: the field is in the map's value.
        let fresh = unsafe { &raw mut (*settings).fresh };
        // SAFETY: as above; volatile, for other CPUs read and write it. Whichever is last, it is a guess.
        unsafe { fresh.write_volatile(u64::from(is_so)) };
    }
}

/// The configuration's flags.
#[inline(always)]
pub fn flags() -> u16 {
    Clock::config().map_or(0, |config| config.flags)
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
