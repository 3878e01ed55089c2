//! IPPool: as written → checked, on its own (reference section 2.3: P1 to P3, P5, P7 with decisions D14, D16).

use std::net::IpAddr;

use crate::model::family::Family;
use crate::model::field::{FieldError, Problems};
use crate::model::ip_pool::{IpPool, KIND, ScopeTuple};
use crate::model::meta::{API_VERSION, GROUP, NamespacedName};
use crate::model::names;
use crate::model::range::Range;

/// The greatest priority: the schema's format is int32.
const MAX_PRIORITY: i64 = i32::MAX as i64;

/// A pool that can be trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedPool {
    /// Its name.
    pub name: String,
    /// At least one, all of one address family; no two share an address.
    pub ranges: Vec<Range>,
    /// The larger wins; 0 is none.
    pub priority: u32,
    /// `namespace/name` of the VM network; empty is the management network.
    pub network: String,
    /// Who may take from it automatically: any of these.
    pub scope: Vec<ScopeTuple>,
}

impl CheckedPool {
    /// Open to everyone: its only scope has three `*`.
    pub fn is_global(&self) -> bool {
        matches!(self.scope.as_slice(), [tuple] if tuple.parts() == ["*"; 3])
    }

    /// Whether an address is a gateway of one of the ranges, and so never given.
    pub fn is_gateway(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.gateway == Some(address))
    }

    /// The range that can give an address.
    pub fn range_of(&self, address: IpAddr) -> Option<&Range> {
        self.ranges.iter().find(|range| range.span.contains(address)).filter(|_| !self.is_gateway(address))
    }

    /// How many addresses can be given, gateways left out.
    pub fn total(&self) -> i64 {
        let spans: u128 = self.ranges.iter().map(|range| range.span.count()).fold(0, u128::saturating_add);
        let mut gateways: Vec<IpAddr> = self.ranges.iter().filter_map(|range| range.gateway).collect();
        gateways.sort_unstable();
        gateways.dedup();
        let covered = |gateway: &&IpAddr| self.ranges.iter().any(|range| range.span.contains(**gateway));
        let taken = u128::try_from(gateways.iter().filter(covered).count()).unwrap_or(u128::MAX);
        i64::try_from(spans.saturating_sub(taken)).unwrap_or(i64::MAX)
    }
}

impl IpPool {
    /// Checks everything that the pool says on its own, its allocations included.
    ///
    /// # Errors
    /// All problems.
    pub fn check(&self) -> Result<CheckedPool, Vec<FieldError>> {
        let mut problems = Problems::default();
        let pool = self.check_fields(&mut problems);
        if problems.is_empty() {
            self.check_allocations(&pool, &mut problems);
        }
        problems.result(pool)
    }

    /// Checks the specification and leaves allocations alone: what a stored pool is read with.
    ///
    /// # Errors
    /// All problems.
    pub fn check_spec(&self) -> Result<CheckedPool, Vec<FieldError>> {
        let mut problems = Problems::default();
        let pool = self.check_fields(&mut problems);
        problems.result(pool)
    }

    /// Checks that the pool may go (rule P10).
    ///
    /// # Errors
    /// The addresses that are in use.
    pub fn check_delete(&self) -> Result<(), Vec<FieldError>> {
        let mut problems = Problems::default();
        for (address, owner) in &self.status.allocated {
            let path = format!("status.allocated[{address:?}]");
            problems.add(path, owner, "in use", "delete that load balancer, or move it to another pool");
        }
        problems.result(())
    }

    /// With the label that tells whether the pool is global, as it is to be stored.
    pub fn with_defaults(mut self) -> Self {
        let is_global = matches!(self.spec.selector.scope.as_slice(), [tuple] if tuple.parts() == ["*"; 3]);
        self.metadata.labels.insert(format!("{GROUP}/global-ip-pool"), is_global.to_string());
        self
    }

    /// With the label that tells the VLAN of its network, `0` for none, as Harvester's dashboard shows it.
    pub fn with_vlan(mut self, vlan: u16) -> Self {
        self.metadata.labels.insert(format!("{GROUP}/vid"), vlan.to_string());
        self
    }

    /// With the allocations of the stored object: no write of a specification changes them (D17).
    pub fn with_status_of(mut self, stored: &Self) -> Self {
        self.status = stored.status.clone();
        self
    }

    fn check_fields(&self, problems: &mut Problems) -> CheckedPool {
        if self.api_version != API_VERSION {
            problems.add("apiVersion", &self.api_version, "unknown version", format!("use {API_VERSION}"));
        }
        if self.kind != KIND {
            problems.add("kind", &self.kind, "unknown kind", format!("use {KIND}"));
        }
        if let Err(rule) = names::subdomain(&self.metadata.name) {
            problems.add("metadata.name", &self.metadata.name, "not a pool's name", rule.to_string());
        }
        let selector = &self.spec.selector;
        let priority = u32::try_from(selector.priority).ok().filter(|_| selector.priority <= MAX_PRIORITY);
        if priority.is_none() {
            let remedy = format!("use 0 to {MAX_PRIORITY}");
            problems.add("spec.selector.priority", selector.priority, "out of range", remedy);
        }
        if !selector.network.is_empty() && selector.network.parse::<NamespacedName>().is_err() {
            let remedy = "use namespace/name, or leave it out for the management network";
            problems.add("spec.selector.network", &selector.network, "not a VM network", remedy);
        }
        check_scope(&selector.scope, problems);
        CheckedPool {
            name: self.metadata.name.clone(),
            ranges: self.check_ranges(problems),
            priority: priority.unwrap_or_default(),
            network: selector.network.clone(),
            scope: selector.scope.clone(),
        }
    }

    fn check_ranges(&self, problems: &mut Problems) -> Vec<Range> {
        if self.spec.ranges.is_empty() {
            problems.add("spec.ranges", &self.spec.ranges, "no range", "add a range with a subnet");
        }
        let mut ranges: Vec<(usize, Range)> = Vec::new();
        for (index, raw) in self.spec.ranges.iter().enumerate() {
            let path = format!("spec.ranges[{index}]");
            let Some(range) = Range::check(raw, &path, problems) else { continue };
            if let Some((other, first)) = ranges.first()
                && Family::of(first.span.first) != Family::of(range.span.first)
            {
                let problem = format!("another address family than that of spec.ranges[{other}]");
                let remedy = "make a pool for each family: it decides which one its load balancers get";
                problems.add(format!("{path}.subnet"), &raw.subnet, problem, remedy);
            }
            if let Some((other, _)) = ranges.iter().find(|(_, other)| other.span.overlaps(range.span)) {
                let problem = format!("overlaps spec.ranges[{other}]");
                problems.add(
                    path,
                    range.span.to_string(),
                    problem,
                    "leave the common addresses to one of the two",
                );
            }
            ranges.push((index, range));
        }
        ranges.into_iter().map(|(_, range)| range).collect()
    }

    /// Rule P5 and decision D14: every allocated address stays in a range and is no gateway.
    fn check_allocations(&self, pool: &CheckedPool, problems: &mut Problems) {
        for (text, owner) in &self.status.allocated {
            let path = format!("status.allocated[{text:?}]");
            let Ok(address) = text.parse::<IpAddr>() else {
                problems.add(path, owner, "not an IP address", "remove the entry");
                continue;
            };
            let gateway = pool.ranges.iter().position(|range| range.gateway == Some(address));
            if let Some(index) = gateway {
                let problem = format!("allocated to {owner}");
                let remedy = "give another gateway, or delete that load balancer first";
                problems.add(format!("spec.ranges[{index}].gateway"), text, problem, remedy);
            } else if pool.range_of(address).is_none() {
                let problem = format!("{text}, allocated to {owner}, is excluded");
                let spans: Vec<String> = pool.ranges.iter().map(|range| range.span.to_string()).collect();
                let remedy = "widen a range to keep it, or delete that load balancer first";
                problems.add("spec.ranges", spans.join(", "), problem, remedy);
            }
        }
    }
}

/// Rule P7: no two tuples mean the same load balancer.
fn check_scope(scope: &[ScopeTuple], problems: &mut Problems) {
    for (index, tuple) in scope.iter().enumerate() {
        if let Some(other) = scope.iter().take(index).position(|other| meet(other, tuple)) {
            let problem = format!("scope overlaps spec.selector.scope[{other}]");
            let path = format!("spec.selector.scope[{index}]");
            problems.add(path, tuple.parts(), problem, "remove one of the two, or narrow it");
        }
    }
}

/// Some load balancer matches both: each part is equal, or `*` on either side.
pub(super) fn meet(a: &ScopeTuple, b: &ScopeTuple) -> bool {
    a.parts().iter().zip(b.parts()).all(|(a, b)| *a == b || *a == "*" || b == "*")
}
