//! Serves interfaces: which hook, why, and when to let go.

use std::collections::{BTreeMap, BTreeSet};

use aya::maps::{Array, MapData};
use aya::util::KernelVersion;
use lb_common::map;
use lb_common::port::PortValue;

use super::error::KernelError;
use super::links::{self, LinkName, Place};
use super::maps::failed;
use super::pins::{self, Pins};
use super::{clsact, refusal, wire};
use crate::config;
use crate::datapath::port::{AttachedPort, Hook, Port, RefusedPort, Role, Served};

/// How tc programs are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TcKind {
    /// Links that can be pinned: Linux 6.6.
    Tcx,
    /// Filters.
    Clsact,
}

impl TcKind {
    /// The word that people see.
    const fn name(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    /// What this kernel has.
    pub(super) fn of_this_kernel() -> Self {
        match KernelVersion::current() {
            Ok(version) if version < KernelVersion::new(6, 6, 0) => Self::Clsact,
            Ok(_) | Err(_) => Self::Tcx,
        }
    }
}

/// What is attached, and to what.
#[derive(Debug)]
pub(super) struct Attachments {
    tc: TcKind,
    /// Is what each flow carries to be counted?
    accounted: bool,
    pinned: BTreeSet<LinkName>,
    served: BTreeMap<u32, (Port, AttachedPort)>,
}

/// The doors that attaching needs.
pub(super) struct Doors<'a> {
    pub(super) pins: &'a Pins,
    pub(super) ports: &'a mut Array<MapData, PortValue>,
}

impl Attachments {
    /// Lets what an earlier agent attached run the pinned programs.
    pub(super) fn adopt(pins: &Pins, tc: TcKind, accounted: bool) -> Result<Self, KernelError> {
        let mut pinned = BTreeSet::new();
        for name in links::names(pins)? {
            if links::run_pinned(pins, name)? {
                pinned.insert(name);
            }
        }
        Ok(Self { tc, accounted, pinned, served: BTreeMap::new() })
    }

    /// Serves these interfaces and no others.
    pub(super) fn serve(
        &mut self,
        doors: &mut Doors<'_>,
        ports: &BTreeMap<u32, Port>,
    ) -> Result<Served, KernelError> {
        let attached = self.pinned.iter().map(|name| name.ifindex).chain(self.served.keys().copied());
        let unwanted: BTreeSet<u32> = attached.filter(|ifindex| !ports.contains_key(ifindex)).collect();
        for ifindex in unwanted {
            self.release(doors, ifindex)?;
        }
        let mut served = Served::default();
        for port in ports.values() {
            match self.serve_one(doors, port) {
                Ok(attached) => {
                    served.attached.insert(port.ifindex, attached);
                }
                Err(error) => {
                    self.release(doors, port.ifindex)?;
                    served.refused.push(RefusedPort {
                        ifindex: port.ifindex,
                        name: port.name.clone(),
                        role: port.role,
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(served)
    }

    fn serve_one(&mut self, doors: &mut Doors<'_>, port: &Port) -> Result<AttachedPort, KernelError> {
        let limit = doors.ports.len();
        if port.ifindex >= limit {
            let (name, ifindex) = (port.name.clone(), port.ifindex);
            return Err(KernelError::InterfaceIndex { name, ifindex, limit });
        }
        if let Some((before, attached)) = self.served.get(&port.ifindex)
            && (before.role, before.hook, &before.name) == (port.role, port.hook, &port.name)
        {
            let attached = attached.clone();
            self.put_port(doors.ports, port, attached.hook)?;
            return Ok(attached);
        }
        let (hook, reason) = self.ingress(doors, port)?;
        self.ensure(doors, port, Place::TcEgress)?;
        let (ifindex, name, role) = (port.ifindex, port.name.clone(), port.role);
        let attached = AttachedPort { ifindex, name, role, hook, reason };
        self.served.insert(ifindex, (port.clone(), attached.clone()));
        Ok(attached)
    }

    fn ingress(&mut self, doors: &mut Doors<'_>, port: &Port) -> Result<(Hook, String), KernelError> {
        match (port.role, port.hook) {
            (Role::VmPort, _) => self.hook(doors, port, Hook::Tc, "VM ports always use tc".to_owned()),
            (_, config::Hook::Xdp) if let Some(why) = port.without_native_xdp => {
                let (interface, why) = (port.name.clone(), why);
                Err(KernelError::WithoutNativeXdp { interface, why })
            }
            (_, config::Hook::Xdp) => self.hook(doors, port, Hook::Xdp, "configured".to_owned()),
            (_, config::Hook::XdpGeneric) => {
                self.hook(doors, port, Hook::XdpGeneric, "configured".to_owned())
            }
            (_, config::Hook::Tc) => self.hook(doors, port, Hook::Tc, "configured".to_owned()),
            (_, config::Hook::Auto) if let Some(why) = port.without_native_xdp => {
                self.hook(doors, port, Hook::Tc, why.to_owned())
            }
            (_, config::Hook::Auto) if port.is_virtual => {
                let reason = "a virtual device, whose peer would lose segmentation offload to native XDP";
                self.hook(doors, port, Hook::Tc, reason.to_owned())
            }
            (_, config::Hook::Auto) => self.best(doors, port),
        }
    }

    /// Native XDP, else generic XDP, else tc. What is attached already is kept: a better try would cost a gap.
    fn best(&mut self, doors: &mut Doors<'_>, port: &Port) -> Result<(Hook, String), KernelError> {
        let has_generic = self.pinned.contains(&LinkName { ifindex: port.ifindex, place: Place::XdpGeneric });
        let native = if has_generic {
            "it was refused when this was attached".to_owned()
        } else {
            match self.hook(doors, port, Hook::Xdp, "the driver has native XDP".to_owned()) {
                Ok(chosen) => return Ok(chosen),
                Err(error @ KernelError::ForeignXdp { .. }) => {
                    return self.hook(doors, port, Hook::Tc, error.to_string());
                }
                Err(error) => error.to_string(),
            }
        };
        match self.hook(doors, port, Hook::XdpGeneric, format!("no native XDP here: {native}")) {
            Ok(chosen) => Ok(chosen),
            Err(error) => self.hook(doors, port, Hook::Tc, format!("no XDP here: {error}")),
        }
    }

    /// Attaches the ingress program by one hook, in place of those by others.
    fn hook(
        &mut self,
        doors: &mut Doors<'_>,
        port: &Port,
        hook: Hook,
        reason: String,
    ) -> Result<(Hook, String), KernelError> {
        let place = match hook {
            Hook::Xdp => Place::Xdp,
            Hook::XdpGeneric => Place::XdpGeneric,
            Hook::Tc => Place::TcIngress,
        };
        // A packet that two hooks rewrite would look like a direct connection to the second one.
        for other in [Place::Xdp, Place::XdpGeneric, Place::TcIngress] {
            if other != place {
                self.remove(doors.pins, LinkName { ifindex: port.ifindex, place: other })?;
            }
        }
        self.put_port(doors.ports, port, hook)?;
        self.ensure(doors, port, place)?;
        Ok((hook, if hook == Hook::Tc { format!("{reason}; by {}", self.tc.name()) } else { reason }))
    }

    fn ensure(&mut self, doors: &mut Doors<'_>, port: &Port, place: Place) -> Result<(), KernelError> {
        let name = LinkName { ifindex: port.ifindex, place };
        if self.pinned.contains(&name) {
            return Ok(());
        }
        if self.tc == TcKind::Clsact && matches!(place, Place::TcIngress | Place::TcEgress) {
            return clsact::attach(doors.pins, place, &port.name);
        }
        links::attach(doors.pins, name, &port.name).map_err(|error| refusal::explain(error, port, place))?;
        self.pinned.insert(name);
        Ok(())
    }

    fn remove(&mut self, pins: &Pins, name: LinkName) -> Result<(), KernelError> {
        if self.pinned.contains(&name) {
            pins::remove_link(&pins.link(&name.to_string()))?;
            self.pinned.remove(&name);
        }
        Ok(())
    }

    /// Lets go of an interface, which may be gone.
    fn release(&mut self, doors: &mut Doors<'_>, ifindex: u32) -> Result<(), KernelError> {
        let links: Vec<_> = self.pinned.iter().copied().filter(|name| name.ifindex == ifindex).collect();
        for name in links {
            self.remove(doors.pins, name)?;
        }
        if let Some((port, _)) = self.served.remove(&ifindex)
            && self.tc == TcKind::Clsact
        {
            clsact::detach(&port.name);
        }
        if ifindex < doors.ports.len() {
            doors.ports.set(ifindex, PortValue::default(), 0).map_err(failed("write", map::PORTS))?;
        }
        Ok(())
    }

    fn put_port(
        &self,
        ports: &mut Array<MapData, PortValue>,
        port: &Port,
        hook: Hook,
    ) -> Result<(), KernelError> {
        let value = wire::port_value(port, hook, self.accounted);
        let before = ports.get(&port.ifindex, 0).map_err(failed("read", map::PORTS))?;
        if before == value {
            return Ok(());
        }
        ports.set(port.ifindex, value, 0).map_err(failed("write", map::PORTS))
    }
}
