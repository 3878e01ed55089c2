//! Filters of the clsact qdisc: the way before Linux 6.6.
//!
//! They can't be pinned and need not be: a filter stays when its maker ends. Priority and handle are fixed, so
//! that the next agent finds and replaces it. The qdisc itself is left behind: others may use it.

use aya::programs::links::FdLink;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
    qdisc_detach_program,
};
use aya::programs::{ProgramError, SchedClassifier};

use super::error::KernelError;
use super::links::{Place, classifier, direction};
use super::pins::Pins;

/// Before the filters of most others; the kernel gives 49152 to those that don't care.
const PRIORITY: u16 = 77;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Attaches a pinned program, in place of one that is there already.
pub(super) fn attach(pins: &Pins, place: Place, interface: &str) -> Result<(), KernelError> {
    let mut program = classifier(pins, place.program())?;
    attach_program(&mut program, place, interface).map_err(|source| KernelError::Attach {
        program: place.program(),
        interface: interface.to_owned(),
        source,
    })
}

fn attach_program(program: &mut SchedClassifier, place: Place, interface: &str) -> Result<(), ProgramError> {
    // The qdisc is there already, or the filter's refusal will say why there is none.
    let _exists = qdisc_add_clsact(interface);
    let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
    let attached =
        program.attach_with_options(interface, direction(place), TcAttachOptions::Netlink(options));
    let id = match attached {
        Ok(id) => id,
        Err(_exists) => {
            let old = SchedClassifierLink::attached(interface, direction(place), PRIORITY, HANDLE, None);
            program.attach_to_link(old.map_err(TcError::IoError)?)?
        }
    };
    // Dropping the link would remove the filter; as a link without descriptor it is given up.
    let _given_up = FdLink::try_from(program.take_link(id)?);
    Ok(())
}

/// Removes the programs from an interface. A filter, qdisc or interface that is not there is none to remove.
pub(super) fn detach(interface: &str) {
    for place in [Place::TcIngress, Place::TcEgress] {
        if let Err(error) = qdisc_detach_program(interface, direction(place), place.program()) {
            tracing::debug!(interface, program = place.program(), %error, "no filter to remove");
        }
    }
}

/// Removes the programs from all interfaces.
pub(super) fn detach_everywhere() {
    for interface in nix::net::if_::if_nameindex().iter().flatten() {
        detach(&interface.name().to_string_lossy());
    }
}
