//! The agent is killed, or the power fails, at every write to the disk.

use super::owners;
use super::*;
use crate::control::admission::{Preconditions, Reference};
use crate::store::RedbStore;
use crate::store::tests::disk::{Disk, Failing, Image, Step};

/// One thing that happens to the stored objects.
enum Happens {
    Submit(Vec<Intent>),
    Lease(&'static str, bool),
}

fn pool(name: &str, subnet: &str, first: u8, last: u8) -> IpPool {
    let mut pool = IpPool::new(name);
    let host = |host: u8| format!("{subnet}.{host}");
    let range = PoolRange {
        subnet: format!("{subnet}.0/24"),
        range_start: host(first),
        range_end: host(last),
        gateway: String::new(),
    };
    pool.spec.ranges = vec![range];
    pool
}

fn balancer(name: &str, ipam: &str, pool: &str, address: &str) -> LoadBalancer {
    let mut object = LoadBalancer::new("shop", name);
    object.spec.ipam = ipam.into();
    object.spec.ip_pool = pool.into();
    object.spec.address = address.into();
    object.spec.listeners =
        vec![Listener { port: 80, protocol: "TCP".into(), backend_port: 8080, ..Listener::default() }];
    object
}

fn apply(object: LoadBalancer) -> Intent {
    Intent::Apply(Manifest::LoadBalancer(object.into()))
}

fn apply_pool(object: IpPool) -> Intent {
    Intent::Apply(Manifest::IpPool(object.into()))
}

fn delete(name: &str) -> Intent {
    Intent::Delete(Reference::LoadBalancer(key(name)), Preconditions::default())
}

/// A history in which everything happens that moves addresses.
fn history() -> Vec<Happens> {
    let (lab, far) = (pool("lab", "192.0.2", 8, 9), pool("far", "198.51.100", 10, 11));
    let wide = pool("lab", "192.0.2", 8, 20);
    let submit = |intent| Happens::Submit(vec![intent]);
    vec![
        Happens::Submit(vec![apply_pool(lab), apply(balancer("a", "pool", "lab", ""))]),
        submit(apply(balancer("leased", "dhcp", "", ""))),
        Happens::Lease("leased", true),
        submit(apply(balancer("waits", "", "lab", ""))),
        submit(delete("leased")),
        Happens::Lease("leased", false),
        submit(apply_pool(far)),
        submit(apply(balancer("a", "pool", "far", ""))),
        submit(apply(balancer("b", "pool", "lab", ""))),
        submit(apply(balancer("a", "pool", "far", "198.51.100.11"))),
        submit(delete("waits")),
        submit(apply_pool(wide)),
        submit(apply(balancer("waits", "", "lab", ""))),
        Happens::Submit(vec![delete("a"), delete("b"), apply(balancer("c", "pool", "far", "198.51.100.11"))]),
        Happens::Submit(vec![
            delete("c"),
            Intent::Delete(Reference::IpPool("far".into()), Preconditions::default()),
        ]),
        submit(apply(balancer("a", "pool", "lab", ""))),
    ]
}

fn happen(registry: &Registry, happens: &Happens) -> Result<(), String> {
    match happens {
        Happens::Submit(intents) => {
            let submission = Submission { intents, manager: "test", dry_run: false };
            registry.submit(&submission).map(drop).map_err(|refusal| refusal.to_string())
        }
        Happens::Lease(name, is_held) => {
            let leases = vec![(key(name), is_held.then(lease))];
            let statuses = Statuses { leases, ..Statuses::default() };
            registry.write_status(statuses).map_err(|error| error.to_string())
        }
    }
}

fn open(disk: &Disk) -> Registry {
    Registry::open(Box::new(RedbStore::on(disk).unwrap())).unwrap()
}

/// What a disk has been through, and the states that were told as stored, each with the steps until then.
struct Past {
    /// Of a store without objects.
    new: Image,
    steps: Vec<Step>,
    told: Vec<(usize, Arc<Resources>)>,
}

fn past() -> Past {
    let first = Disk::default();
    drop(RedbStore::on(&first).unwrap());
    let mut new = Image::default();
    first.steps().iter().for_each(|step| new.apply(step));
    let disk = Disk::of(new.clone());
    let registry = open(&disk);
    let mut told = vec![(0, registry.snapshot())];
    for happens in history() {
        happen(&registry, &happens).unwrap();
        told.push((disk.steps().len(), registry.snapshot()));
        owners::check(&registry.snapshot()).unwrap();
    }
    Past { new, steps: disk.steps(), told }
}

impl Past {
    /// After so many steps: all that was told is there, and of what was not, all or nothing. And the rest of the
    /// history can still happen.
    fn check(&self, image: Image, steps: usize) {
        let registry = open(&Disk::of(image));
        let found = registry.snapshot();
        let known = self.told.iter().rposition(|(end, _)| *end <= steps).unwrap();
        let state = (known..self.told.len().min(known + 2)).find(|index| *self.told[*index].1 == *found);
        let Some(state) = state else { panic!("after {steps} steps: {found:?} is neither old nor new") };
        owners::check(&found).unwrap();
        if steps.is_multiple_of(16) {
            for happens in &history()[state..] {
                happen(&registry, happens).unwrap();
                owners::check(&registry.snapshot()).unwrap();
            }
            let addresses = |resources: &Resources| -> Vec<_> {
                let all = resources.load_balancers.values();
                all.map(|object| (object.metadata.key(), object.status.allocated_address.clone())).collect()
            };
            let last = &self.told.last().unwrap().1;
            assert_eq!(addresses(&registry.snapshot()), addresses(last), "after {steps} steps");
        }
    }
}

#[test]
fn an_agent_killed_at_any_write_loses_doubles_and_leaks_no_address() {
    let past = past();
    let mut image = past.new.clone();
    for (index, step) in past.steps.iter().enumerate() {
        image.apply(step);
        past.check(image.clone(), index + 1);
    }
}

/// What was not synchronised may be there or not, each write by itself.
#[test]
fn a_power_failure_at_any_write_loses_doubles_and_leaks_no_address() {
    let past = past();
    let mut durable = past.new.clone();
    let mut pending: Vec<&Step> = Vec::new();
    let mut chance: u64 = 0x9e37_79b9_7f4a_7c15;
    for (index, step) in past.steps.iter().enumerate() {
        if matches!(step, Step::Sync) {
            pending.drain(..).for_each(|step| durable.apply(step));
            continue;
        }
        pending.push(step);
        let mut image = durable.clone();
        for step in &pending {
            chance = chance.rotate_left(5).wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5bd1_e995;
            // A file is as long as it was told to be, or writes behind its end would make it so.
            if matches!(step, Step::Resize(_)) || chance >> 63 == 0 {
                image.apply(step);
            }
        }
        past.check(image, index + 1);
    }
}

/// A transaction that fails changes nothing, however far it came; the next one is not the worse for it.
#[test]
fn a_disk_that_fails_at_any_write_loses_doubles_and_leaks_no_address() {
    let past = past();
    let given = |resources: &Resources| -> Vec<_> {
        let all = resources.pools.values();
        all.map(|pool| (pool.metadata.name.clone(), pool.status.allocated.clone())).collect()
    };
    for after in (0..past.steps.len()).step_by(3) {
        let disk = Disk::of(past.new.clone());
        let registry = open(&disk);
        disk.fail(Failing { after, steps: 1 + after % 5 });
        for happens in history() {
            let mut tries = 0;
            while let Err(error) = happen(&registry, &happens) {
                tries += 1;
                assert!(tries < 10, "{after}: {error}");
            }
            owners::check(&registry.snapshot()).unwrap();
        }
        let told = registry.snapshot();
        drop(registry);
        disk.fail(Failing::default());
        let found = open(&disk).snapshot();
        assert_eq!(found, told, "{after}");
        assert_eq!(given(&found), given(&past.told.last().unwrap().1), "{after}");
    }
}
