//! The pinned links: what keeps programs attached while no agent runs.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::str::FromStr;

use aya::programs::links::{FdLink, LinkError};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, Xdp, XdpMode};
use aya_obj::programs::XdpAttachType;
use lb_common::map::program;

use super::error::KernelError;
use super::pins::{self, Pins};
use super::raw;

/// Where on an interface a program is attached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Place {
    Xdp,
    XdpGeneric,
    TcIngress,
    TcEgress,
}

impl Place {
    const ALL: [Self; 4] = [Self::Xdp, Self::XdpGeneric, Self::TcIngress, Self::TcEgress];

    /// The word in the pin's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::XdpGeneric => "xdp-generic",
            Self::TcIngress => "tc-ingress",
            Self::TcEgress => "tc-egress",
        }
    }

    /// The program that works there.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::Xdp | Self::XdpGeneric => program::XDP,
            Self::TcIngress => program::TC_INGRESS,
            Self::TcEgress => program::TC_EGRESS,
        }
    }
}

/// A link's name in the pin directory: `3-xdp`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct LinkName {
    pub(super) ifindex: u32,
    pub(super) place: Place,
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ifindex, self.place.name())
    }
}

impl FromStr for LinkName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ifindex, place) = text.split_once('-').ok_or(())?;
        let ifindex = ifindex.parse().map_err(drop)?;
        let place = Place::ALL.into_iter().find(|known| known.name() == place).ok_or(())?;
        Ok(Self { ifindex, place })
    }
}

/// The pinned links to interfaces.
pub(super) fn names(pins: &Pins) -> Result<Vec<LinkName>, KernelError> {
    Ok(pins.link_names()?.iter().filter_map(|name| name.parse().ok()).collect())
}

/// Lets a pinned link run the pinned program of its place.
pub(super) fn run_pinned(pins: &Pins, name: LinkName) -> Result<bool, KernelError> {
    let path = pins.program(name.place.program());
    let program = raw::open_pin(&path).map_err(|error| KernelError::Link { path, source: error.into() })?;
    take_over(&pins.link(&name.to_string()), program.as_fd())
}

/// Lets a pinned link run a program, in one step. Removes the pin of a link whose interface or cgroup is gone and
/// then says `false`.
pub(super) fn take_over(path: &Path, program: BorrowedFd<'_>) -> Result<bool, KernelError> {
    let failed = |error: io::Error| KernelError::Link { path: path.to_owned(), source: error.into() };
    let link = raw::open_pin(path).map_err(failed)?;
    match raw::update_link(link.as_fd(), program) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {
            pins::remove(path)?;
            Ok(false)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Attaches a pinned program to an interface and pins the link.
pub(super) fn attach(pins: &Pins, name: LinkName, interface: &str) -> Result<(), KernelError> {
    let refused = |source| KernelError::Attach {
        program: name.place.program(),
        interface: interface.to_owned(),
        source,
    };
    let path = pins.link(&name.to_string());
    let pinned =
        |source: Box<dyn std::error::Error + Send + Sync>| KernelError::Link { path: path.clone(), source };
    let link: FdLink = match name.place {
        Place::Xdp | Place::XdpGeneric => {
            let mode = if name.place == Place::Xdp { XdpMode::Driver } else { XdpMode::Skb };
            let mut program = xdp(pins)?;
            let id = program.attach_to_if_index(name.ifindex, mode).map_err(refused)?;
            program
                .take_link(id)
                .map_err(refused)?
                .try_into()
                .map_err(|error: LinkError| pinned(error.into()))?
        }
        Place::TcIngress | Place::TcEgress => {
            let options = TcAttachOptions::TcxOrder(LinkOrder::default());
            let mut program = classifier(pins, name.place.program())?;
            let id =
                program.attach_with_options(interface, direction(name.place), options).map_err(refused)?;
            program
                .take_link(id)
                .map_err(refused)?
                .try_into()
                .map_err(|error: LinkError| pinned(error.into()))?
        }
    };
    drop(link.pin(&path).map_err(|error| pinned(error.into()))?);
    Ok(())
}

pub(super) const fn direction(place: Place) -> TcAttachType {
    match place {
        Place::TcEgress => TcAttachType::Egress,
        Place::Xdp | Place::XdpGeneric | Place::TcIngress => TcAttachType::Ingress,
    }
}

/// The pinned XDP program.
pub(super) fn xdp(pins: &Pins) -> Result<Xdp, KernelError> {
    let path = pins.program(program::XDP);
    Xdp::from_pin(&path, XdpAttachType::Interface).map_err(|source| KernelError::Pinned { path, source })
}

/// A pinned tc program.
pub(super) fn classifier(pins: &Pins, name: &'static str) -> Result<SchedClassifier, KernelError> {
    let path = pins.program(name);
    SchedClassifier::from_pin(&path).map_err(|source| KernelError::Pinned { path, source })
}
