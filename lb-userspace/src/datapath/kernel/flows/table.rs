//! The flow table of one family: buckets in mapped memory, and the overflow map beside them.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::slice::ChunksExact;
use std::sync::atomic::AtomicU64;

use aya::maps::MapData;
use lb_common::config::{ConfigValue, expired};
use lb_common::flow::{FlowEntry, OverflowKey, WAYS};
use lb_common::hash;
use lb_common::head::{Head, State};
use lb_common::net::{Address, Protocol};

use super::mapping::Mapping;
use super::place::Place;
use crate::datapath::kernel::error::KernelError;
use crate::datapath::kernel::maps::{batch_failed, failed};
use crate::datapath::kernel::pins::Pins;
use crate::datapath::kernel::raw;

/// The time, and what depends on it.
pub(super) struct Clock {
    /// Time-outs, and the secrets of the hash.
    pub(super) config: ConfigValue,
    /// In ticks.
    pub(super) now: u16,
}

impl Clock {
    /// Has an entry been idle for longer than its state allows?
    fn is_out<A: Address>(&self, entry: &FlowEntry<A>) -> bool {
        let timeout = self.config.timeout(entry.head.protocol(), entry.head.state());
        expired(entry.last_seen, self.now, timeout)
    }
}

/// What a walk finds: half a flow.
pub(super) struct Half<'a, A: Address> {
    pub(super) entry: &'a FlowEntry<A>,
    pub(super) is_out: bool,
    pub(super) overflowed: bool,
}

/// Whether a walk empties what has expired.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Walk {
    Looking,
    Emptying,
}

/// Buckets and the overflow map.
pub(super) struct Table<A: Address> {
    mapping: Mapping,
    overflow: MapData,
    names: Names,
    family: PhantomData<fn() -> A>,
}

/// The maps of a family.
#[derive(Clone, Copy)]
pub(super) struct Names {
    pub(super) flows: &'static str,
    pub(super) overflow: &'static str,
}

impl<A: Address> Table<A>
where
    OverflowKey<A>: aya::Pod,
    FlowEntry<A>: aya::Pod,
{
    /// Maps what is pinned.
    pub(super) fn open(pins: &Pins, names: Names) -> Result<Self, KernelError> {
        let open = |name| MapData::from_pin(pins.map(name)).map_err(failed("open", name));
        let mapping = Mapping::new(&open(names.flows)?).map_err(batch_failed("map", names.flows))?;
        Ok(Self { mapping, overflow: open(names.overflow)?, names, family: PhantomData })
    }

    /// Entries that there are, and those of the overflow map.
    pub(super) fn capacity(&self) -> Result<(u32, u32), KernelError> {
        let entries = self.mapping.words().len() / words::<A>();
        let info = self.overflow.info().map_err(failed("read", self.names.overflow))?;
        Ok((u32::try_from(entries).unwrap_or(u32::MAX), info.max_entries()))
    }

    /// Visits each half that is somebody's; `over`, those that were emptied. Gives their number.
    pub(super) fn walk(
        &self,
        clock: &Clock,
        walk: Walk,
        mut visitor: impl FnMut(Half<'_, A>),
        mut over: impl FnMut(&FlowEntry<A>),
    ) -> Result<u32, KernelError> {
        let mut emptied = 0;
        // A bucket's mark is read before the overflow map: see `clear_marks`.
        let mut marked = Vec::new();
        for (index, bucket) in self.buckets().enumerate() {
            for (way, words) in bucket.chunks_exact(words::<A>()).enumerate() {
                let place = Place::new(words);
                if way == 0 && place.head().overflowed() {
                    marked.push((index, place.head()));
                }
                let Some(entry) = place.read::<A>() else { continue };
                let is_out = clock.is_out(&entry);
                visitor(Half { entry: &entry, is_out, overflowed: false });
                if is_out && walk == Walk::Emptying && place.empty(entry.head) {
                    emptied += 1;
                    over(&entry);
                }
            }
        }
        let (spilled, out) = self.walk_overflow(clock, walk, visitor)?;
        emptied += u32::try_from(out.len()).unwrap_or(u32::MAX);
        out.iter().for_each(over);
        if walk == Walk::Emptying {
            self.clear_marks(&marked, &spilled);
        }
        Ok(emptied)
    }

    /// Visits the overflow map; gives the buckets whose flows live there, and the entries that were emptied.
    fn walk_overflow(
        &self,
        clock: &Clock,
        walk: Walk,
        mut visitor: impl FnMut(Half<'_, A>),
    ) -> Result<(BTreeSet<usize>, Vec<FlowEntry<A>>), KernelError> {
        let mut buckets = BTreeSet::new();
        let mut out = Vec::new();
        let read = raw::visit_hash(&self.overflow, |key: &OverflowKey<A>, entry: &FlowEntry<A>| {
            match entry.head.state() {
                // A packet ended it where it stands.
                State::Empty => out.push((*key, *entry)),
                State::Busy => {
                    buckets.insert(bucket_of(key, &clock.config));
                }
                State::Opening | State::Replied | State::Established | State::Finished | State::Closing => {
                    let is_out = clock.is_out(entry);
                    visitor(Half { entry, is_out, overflowed: true });
                    if is_out {
                        out.push((*key, *entry));
                    } else {
                        buckets.insert(bucket_of(key, &clock.config));
                    }
                }
            }
        });
        read.map_err(batch_failed("read", self.names.overflow))?;
        if walk == Walk::Looking {
            out.clear();
        }
        for (key, _) in &out {
            raw::remove(&self.overflow, key).map_err(batch_failed("remove from", self.names.overflow))?;
        }
        Ok((buckets, out.into_iter().map(|(_, entry)| entry).collect()))
    }

    /// Of these tuples, those that no entry has.
    pub(super) fn without_entry(
        &self,
        mut keys: BTreeSet<OverflowKey<A>>,
        clock: &Clock,
    ) -> Result<BTreeSet<OverflowKey<A>>, KernelError>
    where
        OverflowKey<A>: Ord,
    {
        keys.retain(|key| {
            let bucket = self.buckets().nth(bucket_of(key, &clock.config));
            let mut entries = bucket.into_iter().flat_map(|bucket| bucket.chunks_exact(words::<A>()));
            !entries.any(|words| match Place::new(words).read::<A>() {
                Some(entry) => OverflowKey::from(entry.key()) == *key,
                // Perhaps it is this one that changes just now.
                None => Place::new(words).head().state() == State::Busy,
            })
        });
        raw::visit_hash(&self.overflow, |key: &OverflowKey<A>, _: &FlowEntry<A>| {
            keys.remove(key);
        })
        .map_err(batch_failed("read", self.names.overflow))?;
        Ok(keys)
    }

    /// Takes the mark from buckets without flows in the overflow map. Whoever puts a flow there enters it first
    /// and changes the head after that, so a head that is as it was before the map was read says that none came
    /// that was not seen.
    fn clear_marks(&self, marked: &[(usize, Head)], spilled: &BTreeSet<usize>) {
        for &(index, head) in marked.iter().filter(|(index, _)| !spilled.contains(index)) {
            let first = self.buckets().nth(index);
            if let Some(place) = first.and_then(|bucket| bucket.get(..words::<A>())).map(Place::new) {
                place.clear_mark(head);
            }
        }
    }

    fn buckets(&self) -> ChunksExact<'_, AtomicU64> {
        self.mapping.words().chunks_exact(words::<A>() * WAYS)
    }
}

const fn words<A: Address>() -> usize {
    size_of::<FlowEntry<A>>() / 8
}

fn bucket_of<A: Address>(key: &OverflowKey<A>, config: &ConfigValue) -> usize {
    let ports = (key.source_port, key.destination_port);
    let protocol = Protocol::from_number(key.protocol).unwrap_or(Protocol::Tcp);
    let hash = hash::tuple(&config.flow_secrets, key.source, key.destination, ports, protocol);
    (hash & config.bucket_mask) as usize
}
