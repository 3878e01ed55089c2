//! A Maglev table as the agent remembers it.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::model::BackendId;

/// The backend of each slot. Shared and packed: a thousand tables of 16,381 slots take 16 MiB, not 64.
#[derive(Clone, PartialEq, Eq)]
pub struct Table(Arc<Packed>);

#[derive(PartialEq, Eq)]
struct Packed {
    /// In the order of their first slots, so that tables that are alike are packed alike.
    backends: Box<[BackendId]>,
    places: Places,
}

/// Of each slot, which of the backends it has: as wide as their number asks for.
#[derive(PartialEq, Eq)]
enum Places {
    Bytes(Box<[u8]>),
    Shorts(Box<[u16]>),
    Words(Box<[u32]>),
}

impl Places {
    /// Of so many backends.
    fn pack(places: Vec<u32>, backends: usize) -> Self {
        if backends <= 1 << u8::BITS {
            Self::Bytes(narrow(&places, u8::MAX))
        } else if backends <= 1 << u16::BITS {
            Self::Shorts(narrow(&places, u16::MAX))
        } else {
            Self::Words(places.into())
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(places) => places.len(),
            Self::Shorts(places) => places.len(),
            Self::Words(places) => places.len(),
        }
    }

    fn get(&self, slot: usize) -> Option<usize> {
        match self {
            Self::Bytes(places) => places.get(slot).map(|place| usize::from(*place)),
            Self::Shorts(places) => places.get(slot).map(|place| usize::from(*place)),
            Self::Words(places) => places.get(slot).map(|place| *place as usize),
        }
    }
}

/// None is greater than the greatest.
fn narrow<N: TryFrom<u32> + Copy>(places: &[u32], greatest: N) -> Box<[N]> {
    places.iter().map(|place| N::try_from(*place).unwrap_or(greatest)).collect()
}

impl Table {
    /// With one of these backends in each slot, told by its position among them.
    pub fn of(backends: &[BackendId], positions: &[u32]) -> Self {
        let mut known = vec![None; backends.len()];
        let mut ordered = Vec::with_capacity(backends.len());
        let place = |&position: &u32| {
            let known = known.get_mut(position as usize)?;
            if known.is_none() {
                *known = u32::try_from(ordered.len()).ok();
                ordered.extend(backends.get(position as usize));
            }
            *known
        };
        let mut places = Vec::with_capacity(positions.len());
        places.extend(positions.iter().filter_map(place));
        Self::packed(ordered, places)
    }

    fn packed(backends: Vec<BackendId>, places: Vec<u32>) -> Self {
        let places = Places::pack(places, backends.len());
        Self(Arc::new(Packed { backends: backends.into(), places }))
    }

    /// How many slots it has.
    pub fn len(&self) -> usize {
        self.0.places.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The backends, slot by slot.
    pub fn iter(&self) -> impl Iterator<Item = BackendId> {
        let Packed { backends, places } = &*self.0;
        (0..places.len()).filter_map(|slot| backends.get(places.get(slot)?).copied())
    }

    /// Whether both are one.
    pub fn ptr_eq(one: &Self, other: &Self) -> bool {
        Arc::ptr_eq(&one.0, &other.0)
    }
}

impl FromIterator<BackendId> for Table {
    fn from_iter<I: IntoIterator<Item = BackendId>>(slots: I) -> Self {
        let mut known = HashMap::<u32, u32, BuildHasherDefault<Multiplied>>::default();
        let mut backends = Vec::new();
        let place = |backend: BackendId| {
            *known.entry(backend.0).or_insert_with(|| {
                backends.push(backend);
                // Ids are no longer than this.
                u32::try_from(backends.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let places = slots.into_iter().map(place).collect();
        Self::packed(backends, places)
    }
}

impl From<Vec<BackendId>> for Table {
    fn from(slots: Vec<BackendId>) -> Self {
        slots.into_iter().collect()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Spreads ids, which nobody outside chooses. Each slot is looked up: this takes a tenth of what a keyed hash takes.
#[derive(Default)]
struct Multiplied(u64);

impl Hasher for Multiplied {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_table_is_what_it_was_made_of(ids in proptest::collection::vec(0_u32..400, 0..3000)) {
            let slots: Vec<BackendId> = ids.into_iter().map(BackendId).collect();
            let table: Table = slots.clone().into();
            prop_assert_eq!((table.len(), table.is_empty()), (slots.len(), slots.is_empty()));
            prop_assert_eq!(&table.iter().collect::<Vec<_>>(), &slots);
            prop_assert!(table == slots.iter().copied().collect());
            let positions: Vec<u32> = slots.iter().map(|id| 399 - id.0).collect();
            let backends: Vec<BackendId> = (0..400).rev().map(BackendId).collect();
            prop_assert!(table == Table::of(&backends, &positions));
            let others = slots.iter().map(|id| BackendId(id.0 + 1)).collect::<Table>();
            prop_assert!(slots.is_empty() || table != others);
        }
    }

    #[test]
    fn places_are_as_wide_as_the_number_of_backends_asks_for() {
        for (backends, is_right) in [
            (256, (|places| matches!(places, Places::Bytes(_))) as fn(&Places) -> bool),
            (257, |places| matches!(places, Places::Shorts(_))),
            (65_536, |places| matches!(places, Places::Shorts(_))),
            (65_537, |places| matches!(places, Places::Words(_))),
        ] {
            let slots: Vec<BackendId> = (1..=backends).map(BackendId).collect();
            let table: Table = slots.clone().into();
            assert!(is_right(&table.0.places), "{backends}");
            assert_eq!(table.iter().collect::<Vec<_>>(), slots);
        }
    }
}
