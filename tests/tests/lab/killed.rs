//! Agents that are killed while they write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use lb_tests::lab::agent::Installation;
use lb_tests::lab::topology::{Hook, Topology};
use lb_tests::lab::{Lab, SHOP, Spec, wait};
use serde_json::Value;

use crate::fixture::SOON;

/// Clients that write at the same time.
const CLIENTS: usize = 3;
/// Load balancers that each has at once; the pool has addresses for all.
const EACH: usize = 3;

/// What the agent has told: addresses of load balancers that are there, and those that are gone.
#[derive(Default)]
struct Told {
    there: BTreeMap<String, String>,
    gone: BTreeSet<String>,
    creations: usize,
}

/// Creates and deletes load balancers until nobody answers.
fn write(installation: &Installation, client: usize, told: &Mutex<Told>) {
    for number in 0.. {
        let name = format!("lb-{client}-{}", number % EACH);
        // Whatever becomes of it from here on, nothing is told of it.
        told.lock().unwrap().there.remove(&name);
        told.lock().unwrap().gone.remove(&name);
        if number >= EACH {
            if installation.lb(&["delete", &name, "-n", SHOP]).is_err() {
                return;
            }
            told.lock().unwrap().gone.insert(name.clone());
        }
        told.lock().unwrap().gone.remove(&name);
        let arguments = ["create", &name, "-n", SHOP, "--listener", "80:8080", "--selector", "app=web"];
        if installation.lb(&arguments).is_err() {
            return;
        }
        let Ok(object) = installation.json(&["get", &name, "-n", SHOP]) else { return };
        let address = object["status"]["address"].as_str().unwrap_or_default().to_owned();
        let mut told = told.lock().unwrap();
        told.there.insert(name, address);
        told.creations += 1;
    }
}

/// Addresses by load balancer, as they are stored.
fn stored(installation: &Installation) -> BTreeMap<String, String> {
    let list = installation.json(&["get", "-n", SHOP]).unwrap();
    let objects = list["items"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    objects.map(|object| (text(&object["metadata"]["name"]), text(&object["status"]["address"]))).collect()
}

fn check(installation: &Installation, told: &Told) {
    let stored = stored(installation);
    for (name, address) in &told.there {
        assert_eq!(stored.get(name), Some(address), "{name} was told to be there");
    }
    for name in &told.gone {
        assert!(!stored.contains_key(name), "{name} was told to be gone");
    }
    let pool = installation.json(&["pool", "get", "lab"]).unwrap();
    let allocated = pool["status"]["allocated"].as_object().cloned().unwrap_or_default();
    let owned = stored.iter().map(|(name, address)| (address.clone(), Value::from(format!("{SHOP}/{name}"))));
    assert_eq!(allocated.into_iter().collect::<BTreeMap<_, _>>(), owned.collect());
    let number = |field: &str| pool["status"][field].as_u64().unwrap();
    assert_eq!(number("available"), number("total") - stored.len() as u64);
}

#[test]
fn an_agent_killed_while_clients_write_loses_doubles_and_leaks_no_address() {
    let lab = Lab::create(Spec { topology: Topology::Bridge, hook: Hook::Tc, vms: 1 }).unwrap();
    let mut agent = lab.start_agent().unwrap();
    lab.create_pool().unwrap();
    for answers in [2, 7, 12] {
        let told = Mutex::new(Told::default());
        for name in stored(&lab.installation).keys() {
            lab.installation.lb(&["delete", name, "-n", SHOP]).unwrap();
        }
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (installation, told) = (&lab.installation, &told);
                scope.spawn(move || write(installation, client, told));
            }
            let result = wait::until("so much is told", SOON, || told.lock().unwrap().creations >= answers);
            // In any case: the clients go on until nobody answers.
            agent.kill().unwrap();
            result.unwrap();
        });
        agent = lab.start_agent().unwrap();
        check(&lab.installation, &told.into_inner().unwrap());
    }
    let vips: BTreeSet<String> = stored(&lab.installation).into_values().collect();
    wait::until("the datapath has what is stored", SOON, || {
        let report = lab.installation.json(&["backend", "list", "-n", SHOP]);
        let report = report.unwrap_or_default();
        let served = report["loadBalancers"].as_array().cloned().unwrap_or_default();
        let served = served.iter().map(|lb| lb["address"].as_str().unwrap_or_default().to_owned());
        served.collect::<BTreeSet<_>>() == vips
    })
    .unwrap();
    agent.stop().unwrap();
}
