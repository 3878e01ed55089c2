//! The flow table as a test sees it: read, filled, aged and mutilated.

use lb_common::config::ConfigValue;
use lb_common::flow::{Bucket, Flow, FlowEntry, FlowKey, OverflowKey};
use lb_common::fragment::{FragmentKey, FragmentPorts};
use lb_common::hash;
use lb_common::head::{Head, State};
use lb_common::known::Settings;
use lb_common::map;
use lb_common::net::Ipv4;
use nix::time::{ClockId, clock_getres};

use super::Rig;
use super::blank::blank;

/// Nanoseconds in which the kernel counts one jiffy.
///
/// # Panics
/// When there is no such clock.
pub(super) fn jiffy() -> u64 {
    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).expect("the coarse clock");
    resolution.tv_nsec() as u64
}

impl Rig {
    /// The time in ticks, as the programs count it.
    ///
    /// # Panics
    /// When there is no such clock.
    pub fn now(&mut self) -> u16 {
        // SAFETY: all of the structure is plain integers.
        let mut unused: libc::tms = unsafe { std::mem::zeroed() };
        // SAFETY: the structure outlives the call.
        let hundredths = unsafe { libc::times(&raw mut unused) };
        self.config().tick(hundredths as u64 * 10_000_000 / jiffy())
    }

    fn config(&mut self) -> ConfigValue {
        self.array::<Settings>(map::CONFIG).get(&0, 0).expect("read CONFIG").config
    }

    /// All flows in the table, without those of the overflow map.
    ///
    /// # Panics
    /// When the table can't be read, as all that follows.
    pub fn flows(&mut self) -> Vec<Flow<Ipv4>> {
        let table = self.array::<Bucket<Ipv4>>(map::FLOWS_V4);
        let buckets: Vec<_> = table.iter().map(|bucket| bucket.expect("read FLOWS_V4")).collect();
        let entries = buckets.iter().flat_map(|bucket| bucket.entries);
        entries.filter(is_live).map(|entry| entry.flow()).collect()
    }

    /// All flows in the overflow map.
    pub fn overflowed(&mut self) -> Vec<Flow<Ipv4>> {
        let map = self.hash::<OverflowKey<Ipv4>, FlowEntry<Ipv4>>(map::OVERFLOW_V4);
        let entries: Vec<_> = map.iter().map(|entry| entry.expect("read OVERFLOW_V4").1).collect();
        entries.into_iter().filter(is_live).map(|entry| entry.flow()).collect()
    }

    /// The half with this tuple, wherever it is.
    pub fn flow(&mut self, key: &FlowKey<Ipv4>) -> Option<Flow<Ipv4>> {
        let everywhere = [self.flows(), self.overflowed()].concat();
        everywhere.into_iter().find(|flow| flow.key == *key)
    }

    /// The forward halves.
    pub fn forward_flows(&mut self) -> Vec<Flow<Ipv4>> {
        self.flows().into_iter().filter(|flow| !flow.kind.reply).collect()
    }

    /// Enters half a flow where the programs look for it.
    pub fn put_flow(&mut self, flow: &Flow<Ipv4>) {
        self.edit(&flow.key, |bucket| {
            let free = bucket.entries.iter_mut().find(|entry| !is_live(entry)).expect("room in the bucket");
            *free = FlowEntry::new(flow, free.head);
        });
    }

    /// Enters many halves, and gives the number of those whose bucket had room. One pass over the table.
    pub fn put_flows(&mut self, flows: impl IntoIterator<Item = Flow<Ipv4>>) -> usize {
        let config = self.config();
        let mut table = self.array::<Bucket<Ipv4>>(map::FLOWS_V4);
        let mut buckets: Vec<_> = table.iter().map(|bucket| bucket.expect("read FLOWS_V4")).collect();
        let mut entered = 0;
        for flow in flows {
            let bucket = &mut buckets[bucket_of(&flow.key, &config) as usize];
            if let Some(free) = bucket.entries.iter_mut().find(|entry| !is_live(entry)) {
                *free = FlowEntry::new(&flow, free.head);
                entered += 1;
            }
        }
        for (index, bucket) in (0..).zip(buckets) {
            table.set(index, bucket, 0).expect("write FLOWS_V4");
        }
        entered
    }

    /// Removes half a flow from the table.
    pub fn remove_flow(&mut self, key: &FlowKey<Ipv4>) {
        self.edit_entry(key, |entry| entry.head = entry.head.emptied());
    }

    /// Empties the table and the overflow map.
    pub fn forget_flows(&mut self) {
        for name in [map::FLOWS_V4, map::OVERFLOW_V4] {
            blank(name, self.map(name));
        }
    }

    /// Makes half a flow last seen `ticks` ago.
    pub fn age_flow(&mut self, key: &FlowKey<Ipv4>, ticks: u16) {
        let then = self.now().wrapping_sub(ticks);
        self.edit_entry(key, |entry| entry.last_seen = then);
    }

    /// Makes all flows of the table last seen `ticks` ago.
    pub fn age_all(&mut self, ticks: u16) {
        let then = self.now().wrapping_sub(ticks);
        let mut table = self.array::<Bucket<Ipv4>>(map::FLOWS_V4);
        let buckets: Vec<_> = table.iter().map(|bucket| bucket.expect("read FLOWS_V4")).collect();
        for (index, mut bucket) in (0..).zip(buckets) {
            bucket.entries.iter_mut().for_each(|entry| entry.last_seen = then);
            table.set(index, bucket, 0).expect("write FLOWS_V4");
        }
    }

    /// Puts half a flow into another state.
    pub fn enter_state(&mut self, key: &FlowKey<Ipv4>, state: State) {
        self.edit_entry(key, |entry| entry.head = entry.head.with_state(state));
    }

    /// Whether the bucket of this tuple says that flows of it live in the overflow map.
    pub fn is_marked(&mut self, key: &FlowKey<Ipv4>) -> bool {
        let mut marked = false;
        self.edit(key, |bucket| marked = bucket.entries[0].head.overflowed());
        marked
    }

    /// Makes the first fragments of all packets seen `ticks` earlier.
    ///
    /// # Panics
    /// When the map can't be written.
    pub fn age_fragments(&mut self, ticks: u16) {
        let mut map = self.hash::<FragmentKey<Ipv4>, FragmentPorts>(map::FRAGMENTS_V4);
        let entries: Vec<_> = map.iter().map(|entry| entry.expect("read FRAGMENTS_V4")).collect();
        for (key, ports) in entries {
            let older = FragmentPorts { seen: ports.seen.wrapping_sub(ticks), ..ports };
            map.insert(key, older, 0).expect("write FRAGMENTS_V4");
        }
    }

    fn edit_entry(&mut self, key: &FlowKey<Ipv4>, change: impl FnOnce(&mut FlowEntry<Ipv4>)) {
        self.edit(key, |bucket| {
            let found = bucket.entries.iter_mut().find(|entry| is_live(entry) && entry.flow().key == *key);
            change(found.unwrap_or_else(|| panic!("no flow {key:?}")));
        });
    }

    fn edit(&mut self, key: &FlowKey<Ipv4>, change: impl FnOnce(&mut Bucket<Ipv4>)) {
        let config = self.config();
        let index = bucket_of(key, &config);
        let mut table = self.array::<Bucket<Ipv4>>(map::FLOWS_V4);
        let mut bucket = table.get(&index, 0).expect("read FLOWS_V4");
        change(&mut bucket);
        table.set(index, bucket, 0).expect("write FLOWS_V4");
    }
}

fn bucket_of(key: &FlowKey<Ipv4>, config: &ConfigValue) -> u32 {
    let ports = (key.source_port, key.destination_port);
    let hash = hash::tuple(&config.flow_secrets, key.source, key.destination, ports, key.protocol);
    hash & config.bucket_mask
}

fn is_live(entry: &FlowEntry<Ipv4>) -> bool {
    Head::kind(entry.head).state > State::Busy
}
