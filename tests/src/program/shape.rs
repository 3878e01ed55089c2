//! How big programs and maps are.

use std::collections::BTreeMap;

use aya::maps::{MapData, MapInfo, MapType};
use aya::programs::Program;
use lb_common::map::program;
use serde::{Deserialize, Serialize};

use super::{Hook, Programs};

/// What the kernel says of a loaded program. The length of its machine code is left out: it differs from
/// one CPU model to the next, as the kernel picks instructions by what the CPU can do.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct ProgramShape {
    /// Instructions that the verifier walked through, all paths together.
    pub verified_instructions: u32,
    /// The program's length in bytes after the verifier has rewritten it.
    pub translated_bytes: u32,
}

/// A map at its default size.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
pub struct MapShape {
    /// Kind of map.
    pub kind: String,
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Keys at most.
    pub entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Memory of a full map in bytes; for a per-CPU map, on each CPU. What the kernel adds to each entry of a
    /// hash map is taken as [`HASH_OVERHEAD`]; inner maps are not included.
    pub bytes: u64,
}

/// The kernel's `htab_elem` with its LRU node, in bytes.
pub const HASH_OVERHEAD: u64 = 48;

/// What a prefix has beside key and value; taken from the kernel's memory only when it is entered.
const TRIE_OVERHEAD: u64 = 40;

impl Programs {
    /// The shapes of all programs by name.
    ///
    /// # Panics
    /// When the verifier refuses one, or the kernel does not tell (before 5.16).
    pub fn program_shapes(&mut self) -> BTreeMap<String, ProgramShape> {
        for hook in Hook::ALL {
            self.program(hook);
        }
        let names = program::STAGES.iter().map(|&(_, _, name)| name);
        let stages: Vec<_> = names.map(|name| (name.to_owned(), shape_of(self.named(name)))).collect();
        let names = program::SOCKETS.into_iter();
        let sockets = names.map(|name| (name.to_owned(), shape_of(self.socket_program(name))));
        stages.into_iter().chain(sockets).collect()
    }

    /// The shapes of all maps by name; the loader's own for logs and globals left out.
    ///
    /// # Panics
    /// When the kernel does not tell.
    pub fn map_shapes(&self) -> BTreeMap<String, MapShape> {
        let ours = self.maps().filter(|(name, _)| !name.starts_with('.') && !name.starts_with("AYA_"));
        ours.map(|(name, map)| (name.to_owned(), shape(&data(map).info().expect("ask for a map's shape"))))
            .collect()
    }
}

fn shape_of(program: &Program) -> ProgramShape {
    let info = program.info().expect("ask the kernel for the program's shape");
    ProgramShape {
        verified_instructions: info.verified_instruction_count().expect("kernel 5.16"),
        translated_bytes: info.size_translated().expect("a privileged process"),
    }
}

fn data(map: &aya::maps::Map) -> &MapData {
    use aya::maps::Map;
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::ProgramArray(data)
        | Map::RingBuf(data)
        | Map::Unsupported(data) => data,
        other => panic!("a map of a kind that the programs do not use: {other:?}"),
    }
}

fn shape(info: &MapInfo) -> MapShape {
    let kind = info.map_type().expect("a kind of map that is known");
    let (key, value) = (round_up(info.key_size()), round_up(info.value_size()));
    let each = match kind {
        MapType::Array | MapType::PerCpuArray | MapType::ArrayOfMaps => value,
        MapType::Hash | MapType::LruHash => HASH_OVERHEAD + key + value,
        MapType::LpmTrie => TRIE_OVERHEAD + key + value,
        MapType::ProgramArray => 8,
        MapType::RingBuf => 1,
        other => panic!("a map of a kind that the programs do not use: {other:?}"),
    };
    MapShape {
        kind: format!("{kind:?}"),
        key: info.key_size(),
        value: info.value_size(),
        entries: info.max_entries(),
        flags: info.map_flags(),
        bytes: u64::from(info.max_entries()) * each,
    }
}

/// The kernel keeps keys and values on multiples of eight bytes.
fn round_up(bytes: u32) -> u64 {
    u64::from(bytes).next_multiple_of(8)
}
