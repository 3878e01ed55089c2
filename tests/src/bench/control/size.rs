//! How much there is of everything, and which VM serves which load balancers.
//!
//! Load balancers come in tiers. In each tier, every VM serves one of them, so a VM is a backend of as many load
//! balancers as there are tiers. The first tier is probed, the others are not.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::bench::Effort;

/// The port at which VMs of steady health answer probes.
pub(super) const STEADY: u16 = 8080;
/// The port at which the others do, each by a socket of its own.
pub(super) const FICKLE: u16 = 8081;
/// The port of the VMs of a tier that is not probed is as much greater than this as the tier's number.
const SERVER: u16 = 9000;

/// The size of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Load balancers that a VM serves.
    pub(super) tiers: u32,
    /// Load balancers of a tier.
    pub(super) groups: u32,
    /// VMs of a load balancer.
    pub(super) members: u32,
    /// Load balancers of the first tier whose VMs change their health.
    pub(super) fickle: u32,
    /// Slots of each table.
    pub(super) slots: u32,
    /// `datapath.maxBackends`: all of them, and the dead, whose ids rest for a minute.
    pub(super) max_backends: u32,
    /// From probe to probe.
    pub(super) period: Duration,
    /// How long the agent is watched, undisturbed and under changes.
    pub(super) window: Duration,
    /// In each second: healths that flip, weights that are set, labels that change, addresses that change.
    pub(super) changes: [u32; 4],
    /// From one file that has all of a second's labels and addresses at once to the next.
    pub(super) burst: Duration,
}

impl Size {
    pub(super) fn of(effort: Effort) -> Self {
        match effort {
            Effort::Full => Self {
                tiers: 10,
                groups: 100,
                members: 100,
                fickle: 10,
                slots: 16_381,
                max_backends: 262_144,
                period: Duration::from_secs(5),
                window: Duration::from_secs(40),
                changes: [50, 25, 24, 1],
                burst: Duration::from_millis(5300),
            },
            Effort::Quick => Self {
                tiers: 2,
                groups: 5,
                members: 10,
                fickle: 1,
                slots: 1021,
                max_backends: 1024,
                period: Duration::from_secs(1),
                window: Duration::from_secs(3),
                changes: [5, 3, 2, 1],
                burst: Duration::from_secs(1),
            },
        }
    }

    pub(super) fn vms(&self) -> u32 {
        self.groups * self.members
    }

    pub(super) fn load_balancers(&self) -> u32 {
        self.tiers * self.groups
    }

    pub(super) fn backends(&self) -> u32 {
        self.tiers * self.vms()
    }

    /// VMs that a burst changes.
    pub(super) fn burst_vms(&self) -> u32 {
        let [.., labels, addresses] = self.changes;
        labels + addresses
    }

    /// Load balancers that a burst concerns: those that a VM's label leads to and from, and those that a VM with another
    /// address serves unprobed.
    pub(super) fn burst_load_balancers(&self) -> u32 {
        let [.., labels, addresses] = self.changes;
        labels * 2 + addresses * (self.tiers - 1)
    }

    /// The load balancer of a tier that a VM serves at first. Two VMs that share one share no other.
    pub(super) fn group(&self, vm: u32, tier: u32) -> u32 {
        (vm / self.members + vm % self.members * tier) % self.groups
    }

    /// The port that the VMs of a load balancer serve at: one that answers probes, where there are any.
    pub(super) fn server_port(&self, tier: u32, group: u32) -> u16 {
        match tier {
            0 if group < self.fickle => FICKLE,
            0 => STEADY,
            _ => SERVER + u16::try_from(tier).unwrap_or(0),
        }
    }

    /// Whether a VM's health changes.
    pub(super) fn is_fickle(&self, vm: u32) -> bool {
        self.group(vm, 0) < self.fickle
    }
}

/// The address of this number, from 0 to 65,023: addresses in 198.18.0.0/16 that end in neither 0 nor 255.
pub(super) fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0xc612_0000 + number / 254 * 256 + number % 254 + 1)
}

/// The name of a load balancer.
pub(super) fn name(tier: u32, group: u32) -> String {
    format!("lb-{tier}-{group}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_balancer_has_its_members() {
        let size = Size::of(Effort::Full);
        for tier in 0..size.tiers {
            let mut members = vec![0; size.groups as usize];
            (0..size.vms()).for_each(|vm| members[size.group(vm, tier) as usize] += 1);
            assert!(members.iter().all(|count| *count == size.members), "tier {tier}");
        }
    }
}
