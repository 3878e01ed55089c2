//! Backends to probe, and how well they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::failure::ProbeFailed;
use crate::model::check::CheckedHealthCheck;
use crate::model::meta::NamespacedName;
use crate::model::shared::differing;

/// What one check looks at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Target {
    /// The server's address.
    pub address: IpAddr,
    /// The name of the listener whose own check it is; `None` is the load balancer's, for all other listeners.
    pub listener: Option<Arc<str>>,
}

impl From<IpAddr> for Target {
    /// For the load balancer's check.
    fn from(address: IpAddr) -> Self {
        Self { address, listener: None }
    }
}

/// One server of one load balancer: what is probed, and what is ready or not.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Backend {
    /// The load balancer.
    pub lb: NamespacedName,
    /// The server, and for which listeners.
    pub target: Target,
}

impl Backend {
    /// What the load balancer's own check looks at.
    pub fn new(lb: NamespacedName, address: IpAddr) -> Self {
        Self { lb, target: address.into() }
    }
}

/// Something about each backend, shared by load balancer: a copy costs nothing, and a change of it as much as there are
/// load balancers, not backends. So does to tell what differs between two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByBackend<T>(Arc<BTreeMap<NamespacedName, OfBalancer<T>>>);

/// What there is about the backends of one load balancer.
pub type OfBalancer<T> = Arc<BTreeMap<Target, T>>;

impl<T> Default for ByBackend<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Eq> ByBackend<T> {
    /// About none.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether it is about none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// About the backends of a load balancer.
    pub fn of(&self, lb: &NamespacedName) -> Option<&OfBalancer<T>> {
        self.0.get(lb)
    }

    /// About one backend.
    pub fn get(&self, backend: &Backend) -> Option<&T> {
        self.0.get(&backend.lb)?.get(&backend.target)
    }

    /// Whether there is anything about a backend.
    pub fn contains_key(&self, backend: &Backend) -> bool {
        self.get(backend).is_some()
    }

    /// Says something about a backend.
    pub fn insert(&mut self, backend: Backend, value: T) {
        let all = Arc::make_mut(&mut self.0).entry(backend.lb).or_default();
        Arc::make_mut(all).insert(backend.target, value);
    }

    /// Says something about all backends of a load balancer; nothing, if there are none.
    pub fn put(&mut self, lb: NamespacedName, all: OfBalancer<T>) {
        if all.is_empty() {
            Arc::make_mut(&mut self.0).remove(&lb);
        } else {
            Arc::make_mut(&mut self.0).insert(lb, all);
        }
    }

    /// The load balancers about which this and another one share nothing.
    pub fn differing(&self, other: &Self) -> BTreeSet<NamespacedName> {
        if Arc::ptr_eq(&self.0, &other.0) {
            return BTreeSet::new();
        }
        differing(&self.0, &other.0).into_iter().map(|(lb, ..)| lb.clone()).collect()
    }

    /// In the order of load balancers and addresses.
    pub fn iter(&self) -> impl Iterator<Item = (Backend, &T)> {
        let of_one = |(lb, all): (&NamespacedName, _)| {
            let lb = lb.clone();
            std::iter::zip(std::iter::repeat(lb), <&OfBalancer<T>>::clone(&all).iter())
        };
        self.0
            .iter()
            .flat_map(of_one)
            .map(|(lb, (target, value))| (Backend { lb, target: target.clone() }, value))
    }

    /// What is said, in the same order.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values().flat_map(|all| all.values())
    }
}

impl<T: Clone + Eq> FromIterator<(Backend, T)> for ByBackend<T> {
    fn from_iter<I: IntoIterator<Item = (Backend, T)>>(all: I) -> Self {
        let mut by_backend = Self::new();
        by_backend.extend(all);
        by_backend
    }
}

impl<T: Clone + Eq> Extend<(Backend, T)> for ByBackend<T> {
    fn extend<I: IntoIterator<Item = (Backend, T)>>(&mut self, all: I) {
        for (backend, value) in all {
            self.insert(backend, value);
        }
    }
}

impl<T: Clone + Eq, const N: usize> From<[(Backend, T); N]> for ByBackend<T> {
    fn from(all: [(Backend, T); N]) -> Self {
        all.into_iter().collect()
    }
}

#[cfg(test)]
impl<T: Clone + Eq> std::ops::Index<&Backend> for ByBackend<T> {
    type Output = T;

    fn index(&self, backend: &Backend) -> &T {
        self.get(backend).unwrap()
    }
}

/// How a backend is to be probed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// `None` is not at all: the backend is ready.
    pub check: Option<Arc<CheckedHealthCheck>>,
    /// What a backend that is new here starts as. It is not ready unless this agent's predecessor found it so.
    pub was_ready: bool,
}

/// All backends, and how each is to be probed.
pub type WantedBackends = ByBackend<Wanted>;

/// How well a backend is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// May take new flows.
    pub ready: bool,
    /// Why.
    pub reason: Reason,
}

/// How well all backends are.
pub type Snapshot = ByBackend<Health>;

/// The latest thing known of a backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// It has no health check.
    NotChecked,
    /// No probe has ended yet.
    NotProbed,
    /// The latest probe succeeded.
    Succeeded,
    /// The latest probe failed.
    Failed(ProbeFailed),
}

impl Reason {
    /// One word, for status and events.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotChecked => "NotChecked",
            Self::NotProbed => "NotProbed",
            Self::Succeeded => "ProbeSucceeded",
            Self::Failed(failed) => failed.name(),
        }
    }

    /// What failed, in words; empty if nothing did.
    pub fn message(&self) -> String {
        match self {
            Self::NotChecked | Self::NotProbed | Self::Succeeded => String::new(),
            Self::Failed(failed) => failed.to_string(),
        }
    }
}
