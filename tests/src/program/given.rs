//! What the agent would have written before the packet comes.

use std::collections::BTreeMap;
use std::thread;

use lb_common::config::{ConfigValue, tick_scale};
use lb_common::net::{Ipv4, Ipv6};
use lb_common::policy::{LimitsValue, Rate};
use lb_common::port::PortValue;
use lb_common::vip::{ANSWER_ARP, ANSWER_ECHO, VipValue};

use super::flows::jiffy;
use super::object::{Programs, Sizes};
use super::policy::SourceRange;
use super::{Backend, Hook, INTERFACE, Listener, Port, Rig, pool};
use crate::skip::skip;

/// The content of the maps.
#[derive(Clone, Debug)]
pub struct Given {
    pub(super) config: ConfigValue,
    pub(super) ports: BTreeMap<u32, PortValue>,
    pub(super) vips: Vec<(Ipv4, VipValue)>,
    pub(super) listeners: Vec<Listener>,
    pub(super) vips_v6: Vec<(Ipv6, VipValue)>,
    pub(super) listeners_v6: Vec<Listener<Ipv6>>,
    pub(super) backends: BTreeMap<u32, Backend>,
    pub(super) sources: Vec<SourceRange>,
    pub(super) sources_v6: Vec<SourceRange<Ipv6>>,
    pub(super) limits: Vec<(u32, LimitsValue)>,
    sizes: Sizes,
}

/// Nothing but a configuration: 64 buckets of flows, and the time-outs of the agent's defaults.
pub fn given() -> Given {
    let sizes = Sizes::default();
    let config = ConfigValue {
        flow_secrets: [0x9e37_79b9_7f4a_7c15; 10].map(secret()),
        maglev_secrets: [0xbf58_476d_1ce4_e5b9; 10].map(secret()),
        tick_scale: tick_scale(jiffy()),
        bucket_mask: sizes.buckets - 1,
        tcp_opening: 28,
        tcp_established: 3353,
        tcp_closing: 5,
        udp_opening: 14,
        udp_established: 84,
        flags: 0,
        new_flows: Rate::default(),
    };
    Given {
        config,
        ports: BTreeMap::new(),
        vips: Vec::new(),
        listeners: Vec::new(),
        vips_v6: Vec::new(),
        listeners_v6: Vec::new(),
        backends: BTreeMap::new(),
        sources: Vec::new(),
        sources_v6: Vec::new(),
        limits: Vec::new(),
        sizes,
    }
}

/// Numbers that look random and are the same every time (SplitMix64).
fn secret() -> impl FnMut(u64) -> u64 {
    let mut state = 0_u64;
    move |seed| {
        state = state.wrapping_add(seed | 1);
        mixed(state)
    }
}

/// SplitMix64's finaliser.
pub(super) fn mixed(state: u64) -> u64 {
    let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

impl Given {
    /// The configuration, to be changed and written again.
    pub fn config(&self) -> ConfigValue {
        self.config
    }

    /// What is known of [`INTERFACE`].
    #[must_use]
    pub fn port(self, port: Port) -> Self {
        self.other_port(INTERFACE, port)
    }

    /// What is known of another interface.
    #[must_use]
    pub fn other_port(mut self, interface: u32, port: Port) -> Self {
        self.ports.insert(interface, port.0);
        self
    }

    /// A VIP whose ARP and echo requests are answered.
    #[must_use]
    pub fn vip(self, vip: Ipv4) -> Self {
        self.vip_with(vip, ANSWER_ARP | ANSWER_ECHO)
    }

    /// A VIP with these flags.
    #[must_use]
    pub fn vip_with(mut self, vip: Ipv4, flags: u32) -> Self {
        self.vips.push((vip, VipValue { flags, padding: 0 }));
        self
    }

    /// A VIP of IPv6 whose neighbour solicitations and echo requests are answered.
    #[must_use]
    pub fn vip_v6(mut self, vip: Ipv6) -> Self {
        self.vips_v6.push((vip, VipValue { flags: ANSWER_ARP | ANSWER_ECHO, padding: 0 }));
        self
    }

    /// A listener of IPv6 and its table.
    #[must_use]
    pub fn listener_v6(mut self, listener: Listener<Ipv6>) -> Self {
        self.listeners_v6.push(listener);
        self
    }

    /// A listener and its table.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// A backend.
    #[must_use]
    pub fn backend(mut self, id: u32, backend: Backend) -> Self {
        self.backends.insert(id, backend);
        self
    }

    /// A flow table of this many buckets, a power of two.
    #[must_use]
    pub fn buckets(mut self, buckets: u32) -> Self {
        assert!(buckets.is_power_of_two(), "buckets are a power of two: {buckets}");
        self.sizes.buckets = buckets;
        self.config.bucket_mask = buckets - 1;
        self
    }

    /// An overflow map of this size.
    #[must_use]
    pub fn overflow(mut self, entries: u32) -> Self {
        self.sizes.overflow = entries;
        self
    }

    /// Programs of its own over these maps, for packets that meet `hook`.
    ///
    /// # Errors
    /// Says why there can't be BPF here.
    pub fn loaded(&self, hook: Hook) -> Result<Rig, String> {
        Ok(Rig::new(self, Programs::load(self.sizes)?, hook))
    }

    /// As [`Given::loaded`], of the second instance that `lb trace` loads.
    ///
    /// # Errors
    /// Says why there can't be BPF here.
    pub fn traced(&self, hook: Hook) -> Result<Rig, String> {
        Ok(Rig::new(self, Programs::tracing(self.sizes)?, hook))
    }

    /// Runs the test with packets that meet `hook`, by programs over these maps alone. Where programs can't be
    /// loaded at all, the test is skipped.
    pub fn at(&self, hook: Hook, test: impl FnOnce(&mut Rig)) {
        match pool::take(self.sizes) {
            Ok(programs) => {
                let mut rig = Rig::new(self, programs, hook);
                test(&mut rig);
                pool::give_back(self.sizes, rig.programs);
            }
            Err(reason) => skip(&reason),
        }
    }

    /// Runs the test at every hook at which packets come in. It is told which.
    pub fn at_ingress(&self, test: impl Fn(&mut Rig)) {
        self.at_each(&Hook::INGRESS, test);
    }

    /// Runs the test at each of these hooks.
    pub fn at_each(&self, hooks: &[Hook], test: impl Fn(&mut Rig)) {
        if let Err(reason) = Programs::permitted() {
            skip(&reason);
            return;
        }
        for &hook in hooks {
            let named = Named(hook);
            self.at(hook, &test);
            drop(named);
        }
    }
}

/// Says at which hook a test failed.
struct Named(Hook);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("at {}", self.0);
        }
    }
}
