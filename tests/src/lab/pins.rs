//! The agent's pinned maps, read behind its back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aya::Pod;
use aya::maps::{Array, HashMap, Map, MapData};
use lb_common::backend::BackendValue;
use lb_common::known::Settings;
use lb_common::listener::{ListenerKey, ListenerValue};
use lb_common::map;
use lb_common::net::{Ipv4, Ipv6};
use lb_common::port::PortValue;
use lb_common::vip::VipValue;

/// What the agent has written, by map, as text that shows where two snapshots differ. MAGLEV stands with the
/// identity of each table: a table that is replaced by an equal one differs.
pub type Snapshot = BTreeMap<&'static str, BTreeMap<String, String>>;

/// Reads everything that the agent writes.
///
/// # Errors
/// When a map is not pinned below `pins`, or has another shape.
pub fn snapshot(pins: &Path) -> Result<Snapshot> {
    let directory = pins.join(map::ABI_VERSION.to_string());
    Ok(BTreeMap::from([
        (map::VIPS_V4, hash::<Ipv4, VipValue>(&directory.join(map::VIPS_V4))?),
        (map::LISTENERS_V4, hash::<ListenerKey<Ipv4>, ListenerValue>(&directory.join(map::LISTENERS_V4))?),
        (map::VIPS_V6, hash::<Ipv6, VipValue>(&directory.join(map::VIPS_V6))?),
        (map::LISTENERS_V6, hash::<ListenerKey<Ipv6>, ListenerValue>(&directory.join(map::LISTENERS_V6))?),
        (map::BACKENDS, array::<BackendValue>(&directory.join(map::BACKENDS))?),
        (map::PORTS, array::<PortValue>(&directory.join(map::PORTS))?),
        (map::CONFIG, config(&directory.join(map::CONFIG))?),
        (map::MAGLEV, tables(&directory.join(map::MAGLEV))?),
    ]))
}

fn open(path: &Path) -> Result<MapData> {
    MapData::from_pin(path).with_context(|| format!("open {}", path.display()))
}

fn hash<K: Pod + std::fmt::Debug, V: Pod + std::fmt::Debug>(
    path: &PathBuf,
) -> Result<BTreeMap<String, String>> {
    let entries =
        HashMap::<_, K, V>::try_from(Map::HashMap(open(path)?)).with_context(|| format!("{path:?}"))?;
    entries
        .iter()
        .map(|entry| entry.map(|(key, value)| (format!("{key:?}"), format!("{value:?}"))))
        .collect::<Result<_, _>>()
        .context("read")
}

/// The entries that are not all zero, by index.
fn array<V: Pod + std::fmt::Debug + Default + PartialEq>(path: &PathBuf) -> Result<BTreeMap<String, String>> {
    let entries = Array::<_, V>::try_from(Map::Array(open(path)?)).with_context(|| format!("{path:?}"))?;
    let mut found = BTreeMap::new();
    for (index, value) in entries.iter().enumerate() {
        let value = value.with_context(|| format!("read {path:?}"))?;
        if value != V::default() {
            found.insert(index.to_string(), format!("{value:?}"));
        }
    }
    Ok(found)
}

fn config(path: &PathBuf) -> Result<BTreeMap<String, String>> {
    let map = Array::<_, Settings>::try_from(Map::Array(open(path)?)).with_context(|| format!("{path:?}"))?;
    let settings = map.get(&0, 0).with_context(|| format!("read {path:?}"))?;
    Ok(BTreeMap::from([("0".to_owned(), format!("{:?}", settings.config))]))
}

fn tables(path: &PathBuf) -> Result<BTreeMap<String, String>> {
    let outer = aya::maps::ArrayOfMaps::<_, MapData>::try_from(Map::ArrayOfMaps(open(path)?))
        .with_context(|| format!("{path:?}"))?;
    let mut found = BTreeMap::new();
    for index in 0..outer.len() {
        // An index without a table is an error of the kernel's.
        if let Ok(table) = outer.get(&index, 0) {
            found.insert(index.to_string(), table.info().context("look at a table")?.id().to_string());
        }
    }
    Ok(found)
}
