//! The door to the resources: one writer at a time, every commit published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::control::admission::{self, ALLOCATED, Intent, Outcome, Refusal, Stamps, Vlans};
use crate::control::changes::Changes;
use crate::control::resources::Resources;
use crate::control::tidings::Events;
use crate::control::tokens::Token;
use crate::ipam::dhcp::left;
use crate::ipam::dhcp::model::Lease;
use crate::model::check::broken as broken_pools;
use crate::model::load_balancer::{LoadBalancer, LoadBalancerStatus};
use crate::model::meta::NamespacedName;
use crate::model::parse::Manifest;
use crate::store::{Store, StoreError};

/// The resources, their store, and those who watch them.
pub struct Registry {
    store: Mutex<Box<dyn Store>>,
    changes: Arc<Changes>,
    events: Arc<Events>,
    published: watch::Sender<Arc<Resources>>,
    vlans: Vlans,
}

impl Registry {
    /// Loads everything. Objects that can't be read are logged and left alone.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn open(store: Box<dyn Store>) -> Result<Self, StoreError> {
        let (resources, broken) = Resources::from_records(store.revision()?, &store.load()?);
        for record in broken {
            tracing::warn!("{record}");
        }
        for pool in broken_pools(resources.pools.values()) {
            tracing::warn!("{pool}");
        }
        // What was changed before the start is not known any more: who watched then has to list again.
        let changes = Arc::new(Changes::new(resources.revision));
        let events = Arc::new(Events::new(jiff::Timestamp::now()));
        let (published, _) = watch::channel(Arc::new(resources));
        Ok(Self { store: Mutex::new(store), changes, events, published, vlans: Vlans::new() })
    }

    /// With networks and their VLANs, which pools are labelled with: those that are stored, too.
    ///
    /// # Errors
    /// When the store does not take a new label.
    pub fn with_vlans(mut self, vlans: Vlans) -> Result<Self, StoreError> {
        self.vlans = vlans;
        let mut store = self.lock();
        let before = self.snapshot();
        let mut after = (*before).clone();
        admission::label(&mut after, &self.vlans);
        self.commit(store.as_mut(), &before, after)?;
        drop(store);
        Ok(self)
    }

    /// The resources of the last commit.
    pub fn snapshot(&self) -> Arc<Resources> {
        Arc::clone(&self.published.borrow())
    }

    /// Tells of every commit.
    pub fn watch(&self) -> watch::Receiver<Arc<Resources>> {
        self.published.subscribe()
    }

    /// The latest changes.
    pub fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes)
    }

    /// What has become of load balancers, as Kubernetes' Events.
    pub fn events(&self) -> Arc<Events> {
        Arc::clone(&self.events)
    }

    /// Where the store is, for people.
    pub fn place(&self) -> String {
        self.lock().place()
    }

    /// Carries out all intents, or none. Waits for the disk.
    ///
    /// # Errors
    /// When an intent is refused or the store fails; nothing has changed then.
    pub fn submit(&self, submission: &Submission<'_>) -> Result<Vec<Outcome>, Refusal> {
        let mut store = self.lock();
        let before = self.snapshot();
        let now = now();
        let mut stamps = Stamps { now: &now, uid: &mut uid, manager: submission.manager, vlans: &self.vlans };
        let (after, mut outcomes) = admission::admit(&before, submission.intents, &mut stamps)?;
        if submission.dry_run {
            return Ok(outcomes);
        }
        let after = self.commit(store.as_mut(), &before, after)?;
        for outcome in &mut outcomes {
            log(outcome);
            let reference = admission::Reference::of(&outcome.object);
            if let Some(object) = admission::current(&after, &reference) {
                outcome.object = object;
            }
        }
        Ok(outcomes)
    }

    /// Changes who has which token. Waits for the disk. Gives what the change gives.
    ///
    /// # Errors
    /// When the store fails; nothing has changed then.
    pub fn change_tokens<T>(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Token>) -> T,
    ) -> Result<T, StoreError> {
        let mut store = self.lock();
        let before = self.snapshot();
        let mut after = (*before).clone();
        let given = change(&mut after.tokens);
        self.commit(store.as_mut(), &before, after)?;
        Ok(given)
    }

    /// Writes leases, and statuses of objects that still exist, in one transaction; those that are as before are not
    /// written. Waits for the disk.
    ///
    /// # Errors
    /// When the store fails; nothing has changed then.
    pub fn write_status(&self, statuses: Statuses) -> Result<(), StoreError> {
        let mut store = self.lock();
        let before = self.snapshot();
        let mut after = (*before).clone();
        write_leases(&mut after, statuses.leases);
        for (key, status) in statuses.load_balancers {
            if let Some(object) = after.load_balancers.get(&key) {
                let status = merged(object, status);
                if object.status != status && !is_overtaken(&after, object, &status) {
                    let object = after.load_balancers.entry(key);
                    object.and_modify(|object| Arc::make_mut(object).status = status);
                }
            }
        }
        if is_given_back(&before, &after) {
            admission::serve_waiting(&before, &mut after, &now());
        }
        self.commit(store.as_mut(), &before, after)?;
        Ok(())
    }

    fn commit(
        &self,
        store: &mut dyn Store,
        before: &Resources,
        mut after: Resources,
    ) -> Result<Arc<Resources>, StoreError> {
        let writes = after
            .writes_since(before)
            .map_err(|error| StoreError::Write { path: store.place().into(), message: error.to_string() })?;
        if !writes.is_empty() {
            let revision = store.commit(&writes)?;
            after.stamp(before, revision);
            // They had a JSON form a moment ago.
            let changes = after.changes_since(before).unwrap_or_default();
            // Whoever lists what is published may ask at once for what comes after it.
            self.changes.push(revision, changes);
            let after = Arc::new(after);
            self.published.send_replace(Arc::clone(&after));
            self.events.observe(before, &after, jiff::Timestamp::now());
            return Ok(after);
        }
        Ok(Arc::new(after))
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn Store>> {
        // A panic in a commit leaves the store as it was before: its transaction is never finished.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client wants done.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// All of it, or nothing.
    pub intents: &'a [Intent],
    /// Who writes: the name under which the fields are kept.
    pub manager: &'a str,
    /// Only tell what would be.
    pub dry_run: bool,
}

/// Statuses to write back.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Statuses {
    /// All but the addresses of pools, which are given in `submit`.
    pub load_balancers: Vec<(NamespacedName, LoadBalancerStatus)>,
    /// What is to be stored of leases.
    pub leases: Vec<LeaseWrite>,
}

impl Statuses {
    /// Nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.load_balancers.is_empty() && self.leases.is_empty()
    }
}

/// A load balancer's lease; `None` removes it.
pub type LeaseWrite = (NamespacedName, Option<Lease>);

/// The new status with the address of the stored one: addresses of pools are given in `submit`, maybe since the
/// new status was made.
fn merged(object: &LoadBalancer, mut new: LoadBalancerStatus) -> LoadBalancerStatus {
    let stored = &object.status;
    if object.takes_lease() {
        return new;
    }
    new.address.clone_from(&stored.address);
    new.allocated_address.clone_from(&stored.allocated_address);
    new.conditions.retain(|condition| condition.kind != ALLOCATED);
    let allocated = stored.conditions.iter().filter(|condition| condition.kind == ALLOCATED).cloned();
    new.conditions.splice(0..0, allocated);
    new
}

/// What is gone goes first: a server may have lent its address to another load balancer since. An address that a pool
/// has given meanwhile is the pool's; whoever leased it hears of that, and declines it.
fn write_leases(resources: &mut Resources, leases: Vec<LeaseWrite>) {
    let (new, gone): (Vec<_>, Vec<_>) = leases.into_iter().partition(|(_, lease)| lease.is_some());
    for (key, _) in gone {
        resources.leases.remove(&key);
    }
    for (key, lease) in new {
        let Some(lease) = lease else { continue };
        let is_wanted = left::is_key(&key) || resources.load_balancers.contains_key(&key);
        if is_wanted && !resources.is_pooled(lease.address.into()) {
            resources.leases.insert(key, lease);
        }
    }
}

/// Whether an address is leased no more. A lease that is renewed frees nothing.
fn is_given_back(before: &Resources, after: &Resources) -> bool {
    let held: BTreeSet<_> = after.leases.values().map(|lease| lease.address).collect();
    before.leases.values().any(|lease| !held.contains(&lease.address))
}

/// Whether a status tells of a leased address that a pool has given to another meanwhile.
fn is_overtaken(resources: &Resources, object: &LoadBalancer, status: &LoadBalancerStatus) -> bool {
    object.takes_lease() && status.address.parse().is_ok_and(|address| resources.is_pooled(address))
}

/// RFC 3339, in seconds.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn log(outcome: &Outcome) {
    let word = outcome.change.word();
    match &outcome.object {
        Manifest::LoadBalancer(object) => {
            let address = &object.status.address;
            tracing::info!(load_balancer = %object.metadata.key(), address, "{word}");
        }
        Manifest::IpPool(object) => tracing::info!(pool = object.metadata.name, "{word}"),
    }
}

/// A random UUID from the kernel.
fn uid() -> String {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    // Without the kernel's, the moment is as unique as one process needs.
    read.map_or_else(|_| jiff::Timestamp::now().as_nanosecond().to_string(), |text| text.trim().to_owned())
}

#[cfg(test)]
pub(super) mod tests;
