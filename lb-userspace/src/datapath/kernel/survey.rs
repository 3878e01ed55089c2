//! What is pinned and what runs on which interface, looked at from outside: nothing is loaded, taken over or
//! changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::TcAttachType;
use aya::programs::{ProgramInfo, SchedClassifier, loaded_programs};
use lb_common::map;

use super::error::KernelError;
use super::links::LinkName;
use super::pins::{self, Pins};

/// What is there.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Survey {
    /// Versions below the pin directory, each with its directory.
    pub versions: BTreeMap<u32, PathBuf>,
    /// Maps that this version pins and that are not there; empty where nothing of this version is pinned.
    pub missing_maps: Vec<&'static str>,
    /// Links of this version.
    pub links: Vec<Pinned>,
    /// Programs that run on the interfaces, in the order in which packets meet them.
    pub running: Vec<Running>,
}

/// A pinned link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pinned {
    /// Its file.
    pub path: PathBuf,
    /// Interface index.
    pub ifindex: u32,
    /// `xdp`, `xdp-generic`, `tc-ingress` or `tc-egress`.
    pub place: &'static str,
    /// The program that it runs.
    pub program: u32,
}

/// A program on an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Running {
    /// The interface's name.
    pub interface: String,
    /// `xdp`, `tc-ingress` or `tc-egress`.
    pub place: &'static str,
    /// Its id.
    pub id: u32,
    /// Its name, cut to 15 bytes by the kernel.
    pub name: String,
    /// Pinned below the pin directory.
    pub is_ours: bool,
}

/// An interface to look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its name.
    pub interface: String,
    /// The XDP program that netlink shows on it.
    pub xdp_program: Option<u32>,
}

/// Looks at the pins, and at these interfaces.
///
/// # Errors
/// When the pin directory can't be read.
pub fn survey(pin_directory: &Path, places: &[Place]) -> Result<Survey, KernelError> {
    let versions = versions(pin_directory)?;
    let pins = Pins::new(pin_directory);
    let missing_maps = if versions.contains_key(&map::ABI_VERSION) {
        map::ALL.into_iter().filter(|name| !pins.map(name).exists()).collect()
    } else {
        Vec::new()
    };
    let mut ours = BTreeSet::new();
    for directory in versions.values() {
        ours.extend(pinned_programs(&directory.join("programs"))?);
    }
    let links = links(&pins)?;
    ours.extend(links.iter().map(|link| link.program));
    let names: BTreeMap<u32, String> =
        loaded_programs().filter_map(Result::ok).map(|program| (program.id(), name(&program))).collect();
    let mut running = Vec::new();
    for place in places {
        running.extend(place.xdp_program.map(|id| Running {
            interface: place.interface.clone(),
            place: "xdp",
            id,
            name: names.get(&id).cloned().unwrap_or_default(),
            is_ours: ours.contains(&id),
        }));
        running.extend(tcx(&place.interface, TcAttachType::Ingress, "tc-ingress", &ours));
        running.extend(tcx(&place.interface, TcAttachType::Egress, "tc-egress", &ours));
    }
    Ok(Survey { versions, missing_maps, links, running })
}

fn versions(pin_directory: &Path) -> Result<BTreeMap<u32, PathBuf>, KernelError> {
    let number = |path: &PathBuf| path.file_name().and_then(OsStr::to_str)?.parse::<u32>().ok();
    let directories = pins::entries(pin_directory)?.into_iter();
    Ok(directories.filter_map(|path| Some((number(&path)?, path))).collect())
}

fn pinned_programs(directory: &Path) -> Result<BTreeSet<u32>, KernelError> {
    let paths = pins::entries(directory)?.into_iter();
    Ok(paths.filter_map(|path| ProgramInfo::from_pin(path).ok()).map(|program| program.id()).collect())
}

fn links(pins: &Pins) -> Result<Vec<Pinned>, KernelError> {
    let mut links = Vec::new();
    for file in pins.link_names()? {
        let Ok(name) = file.parse::<LinkName>() else { continue };
        let path = pins.link(&file);
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| KernelError::Link {
            path: path.clone(),
            source,
        };
        let link: FdLink = PinnedLink::from_pin(&path).map_err(|error| failed(error.into()))?.into();
        let program = link.info().map_err(|error| failed(error.into()))?.program_id();
        links.push(Pinned { path, ifindex: name.ifindex, place: name.place.name(), program });
    }
    Ok(links)
}

/// Kernels before 6.6 have no tcx and answer with an error: nothing of that kind runs there.
fn tcx(interface: &str, side: TcAttachType, place: &'static str, ours: &BTreeSet<u32>) -> Vec<Running> {
    let (_, programs) = SchedClassifier::query_tcx(interface, side).unwrap_or_default();
    let running = |program: &ProgramInfo| Running {
        interface: interface.to_owned(),
        place,
        id: program.id(),
        name: name(program),
        is_ours: ours.contains(&program.id()),
    };
    programs.iter().map(running).collect()
}

fn name(program: &ProgramInfo) -> String {
    program.name_as_str().unwrap_or_default().to_owned()
}
