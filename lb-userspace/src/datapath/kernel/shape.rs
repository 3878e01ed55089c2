//! Shapes of maps: aya takes a pinned map of any shape, so they are compared before it does.

use std::collections::BTreeMap;
use std::fmt;

use aya::maps::MapInfo;
use lb_common::flow::WAYS;
use lb_common::map;

use crate::config;

use super::error::KernelError;

/// All that must fit before a pinned map is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// The first difference between a pinned map and the one that would be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Difference {
    property: &'static str,
    pinned: u32,
    wanted: u32,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "its {} is {}, and {} is wanted", self.property, self.pinned, self.wanted)
    }
}

impl Shape {
    /// The shape of an existing map.
    pub(super) fn of(info: &MapInfo) -> Self {
        Self {
            // A type that aya does not know is none of ours.
            map_type: info.map_type().map_or(u32::MAX, |map_type| map_type as u32),
            key_size: info.key_size(),
            value_size: info.value_size(),
            max_entries: info.max_entries(),
            flags: info.map_flags(),
        }
    }

    /// The first property in which a pinned map differs from this one.
    pub(super) fn difference(&self, pinned: &Self) -> Option<Difference> {
        [
            ("type", pinned.map_type, self.map_type),
            ("key size", pinned.key_size, self.key_size),
            ("value size", pinned.value_size, self.value_size),
            ("number of entries", pinned.max_entries, self.max_entries),
            ("flags", pinned.flags, self.flags),
        ]
        .into_iter()
        .find(|(_, pinned, wanted)| pinned != wanted)
        .map(|(property, pinned, wanted)| Difference { property, pinned, wanted })
    }
}

/// The maps that the object and the configuration ask for.
#[derive(Clone, Debug)]
pub(super) struct Shapes {
    /// By name: all of [`map::ALL`].
    pub(super) maps: BTreeMap<&'static str, Shape>,
    /// Of a Maglev table.
    pub(super) table: TableShape,
}

/// The shape of the maps in MAGLEV.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableShape {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    /// Elements that each must have, unless the flags let them differ.
    pairs: u32,
    flags: u32,
}

/// Lets the inner maps of one outer map differ in size (`BPF_F_INNER_MAP`).
const SIZES_DIFFER: u32 = 1 << 12;

impl TableShape {
    /// A table with room for so many elements.
    ///
    /// # Errors
    /// The number of elements that there is room for.
    pub(super) fn holding(&self, wanted: u32) -> Result<aya_obj::Map, u32> {
        let elements = match self.flags & SIZES_DIFFER {
            0 if wanted > self.pairs => return Err(self.pairs),
            0 => self.pairs,
            _ => wanted,
        };
        let Self { map_type, key_size, value_size, flags, .. } = *self;
        Ok(aya_obj::Map::new_from_params(map_type, key_size, value_size, elements, flags))
    }
}

impl Shapes {
    /// Reads them from the object.
    pub(super) fn read(object: &[u8], settings: &config::Datapath) -> Result<Self, KernelError> {
        let parsed = aya_obj::Object::parse(object)?;
        let sizes = sizes(settings);
        let mut maps = BTreeMap::new();
        for name in map::ALL {
            let defined = parsed.maps.get(name).ok_or(KernelError::Lacking(name))?;
            let max_entries = sizes.get(name).copied().unwrap_or_else(|| defined.max_entries());
            maps.insert(
                name,
                Shape {
                    map_type: defined.map_type(),
                    key_size: defined.key_size(),
                    value_size: defined.value_size(),
                    max_entries,
                    flags: defined.map_flags(),
                },
            );
        }
        let table = parsed.maps.get(map::MAGLEV).and_then(aya_obj::Map::inner);
        let table = table.ok_or(KernelError::Lacking("the shape of a Maglev table"))?;
        let table = TableShape {
            map_type: table.map_type(),
            key_size: table.key_size(),
            value_size: table.value_size(),
            pairs: table.max_entries(),
            flags: table.map_flags(),
        };
        Ok(Self { maps, table })
    }
}

/// The sizes that the configuration decides.
pub(super) fn sizes(settings: &config::Datapath) -> BTreeMap<&'static str, u32> {
    BTreeMap::from([
        (map::LISTENERS_V4, settings.max_listeners),
        (map::LISTENERS_V6, settings.max_listeners),
        (map::MAGLEV, settings.max_listeners),
        (map::LISTENER_STATS, settings.max_listeners),
        (map::LISTENER_PASTS, settings.max_listeners),
        (map::BACKENDS, settings.max_backends),
        (map::BACKEND_STATS, settings.max_backends),
        (map::BACKEND_LOAD, settings.max_backends),
        (map::FLOWS_V4, flow_buckets(settings)),
        (map::FLOWS_V6, flow_buckets(settings)),
    ])
}

/// Buckets of each flow table.
pub(super) fn flow_buckets(settings: &config::Datapath) -> u32 {
    settings.flow_entries / u32::try_from(WAYS).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { map_type: 2, key_size: 4, value_size: 48, max_entries: 16384, flags: 0 };

    #[test]
    fn a_difference_names_the_property_and_both_values() {
        let pinned = Shape { max_entries: 8192, flags: 1024, ..SHAPE };
        assert_eq!(SHAPE.difference(&SHAPE), None);
        let text = SHAPE.difference(&pinned).unwrap().to_string();
        assert_eq!(text, "its number of entries is 8192, and 16384 is wanted");
    }
}
