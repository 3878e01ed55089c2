//! The pinned links: what keeps programs attached while no agent runs.

use std::fmt;
use std::str::FromStr;

use aya::Ebpf;
use aya::programs::links::{FdLink, LinkError, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};
use lb_common::map::program;

use super::error::KernelError;
use super::pins::{self, Pins};

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

/// Lets a pinned link run the loaded program, in one step. Removes the pin of a link whose interface is gone
/// and then says `false`.
pub(super) fn take_over(ebpf: &mut Ebpf, pins: &Pins, name: LinkName) -> Result<bool, KernelError> {
    let path = pins.link(&name.to_string());
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| KernelError::Link { path: path.clone(), source };
    let link: FdLink = PinnedLink::from_pin(&path).map_err(|error| failed(error.into()))?.into();
    match update(ebpf, link, name.place) {
        Ok(()) => Ok(true),
        Err(Update::Program(ProgramError::SyscallError(call)))
            if call.io_error.raw_os_error() == Some(libc::ENOLINK) =>
        {
            pins::remove(&path)?;
            Ok(false)
        }
        Err(Update::Program(error)) => Err(failed(error.into())),
        Err(Update::Link(error)) => Err(failed(error.into())),
        Err(Update::Lacking(error)) => Err(error),
    }
}

enum Update {
    Program(ProgramError),
    Link(LinkError),
    Lacking(KernelError),
}

fn update(ebpf: &mut Ebpf, link: FdLink, place: Place) -> Result<(), Update> {
    // Only the pin keeps the link: its descriptor is closed, so that removing the pin detaches.
    match place {
        Place::Xdp | Place::XdpGeneric => {
            let link = XdpLink::try_from(link).map_err(Update::Link)?;
            let program = xdp(ebpf).map_err(Update::Lacking)?;
            let id = program.attach_to_link(link).map_err(Update::Program)?;
            drop(program.take_link(id).map_err(Update::Program)?);
        }
        Place::TcIngress | Place::TcEgress => {
            let link = SchedClassifierLink::try_from(link).map_err(Update::Link)?;
            let program = classifier(ebpf, place.program()).map_err(Update::Lacking)?;
            let id = program.attach_to_link(link).map_err(Update::Program)?;
            drop(program.take_link(id).map_err(Update::Program)?);
        }
    }
    Ok(())
}

/// Attaches a program to an interface and pins the link.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    pins: &Pins,
    name: LinkName,
    interface: &str,
) -> Result<(), KernelError> {
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
            let program = xdp(ebpf)?;
            let id = program.attach_to_if_index(name.ifindex, mode).map_err(refused)?;
            program
                .take_link(id)
                .map_err(refused)?
                .try_into()
                .map_err(|error: LinkError| pinned(error.into()))?
        }
        Place::TcIngress | Place::TcEgress => {
            let options = TcAttachOptions::TcxOrder(LinkOrder::default());
            let program = classifier(ebpf, name.place.program())?;
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

pub(super) fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, KernelError> {
    let program = ebpf.program_mut(program::XDP).and_then(|program| program.try_into().ok());
    program.ok_or(KernelError::Lacking(program::XDP))
}

pub(super) fn classifier<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, KernelError> {
    let program = ebpf.program_mut(name).and_then(|program| program.try_into().ok());
    program.ok_or(KernelError::Lacking(name))
}
