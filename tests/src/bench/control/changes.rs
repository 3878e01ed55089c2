//! A hundred changes a second.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};

use super::log::{Moment, Tail};
use super::maps::{self, Maps};
use super::scene::{Inventory, Scene};
use super::servers::Fickle;
use super::size::{FICKLE, Size, name};
use super::watch::{Effect, Expected, Facts, Kind, Progress, Seen, Watcher};
use crate::lab::SHOP;

/// What changes took.
pub(super) struct Changes {
    pub(super) seen: Seen,
    /// Milliseconds of each request to the API.
    pub(super) answers: Vec<f64>,
    /// Milliseconds that all took together.
    pub(super) elapsed: Duration,
}

/// Changes things for the size's window, and waits until all has come to the maps.
pub(super) fn run(
    scene: &Scene,
    maps: &Maps,
    inventory: &mut Inventory,
    fickle: &mut Fickle,
) -> Result<Changes> {
    let mut log = Tail::open(&scene.installation.directory)?;
    log.lines()?;
    let backends = Backends::read(maps)?;
    let (facts, expected_facts) = channel();
    let (objects, expected_objects) = channel();
    let expected = Expected { facts: expected_facts, objects: expected_objects };
    let progress = Progress::default();
    let probed = backends.fickle().collect();
    let watcher = Watcher::new(maps, log, expected, probed, &progress);
    thread::scope(|scope| {
        let watching = scope.spawn(|| watcher.run());
        let mut driver = Driver {
            scene,
            inventory,
            fickle,
            backends,
            facts,
            objects,
            step: 0,
            relabelled: 0,
            readdressed: 0,
            files: 0,
            bursts: 0,
            answers: Vec::new(),
        };
        let started = Instant::now();
        let driven = driver.drive(started, &progress);
        let elapsed = started.elapsed();
        progress.is_over.store(true, Ordering::Release);
        let seen = watching.join().map_err(|_| anyhow!("the watcher panicked"))?;
        driven?;
        Ok(Changes { seen: seen?, answers: driver.answers, elapsed })
    })
}

/// BACKENDS as it was before.
struct Backends {
    /// Id, address, port and listener of those that are not dead.
    all: Vec<(u32, Ipv4Addr, u16, u32)>,
}

impl Backends {
    fn read(maps: &Maps) -> Result<Self> {
        let living = |state| matches!(state, lb_common::backend::ACTIVE | lb_common::backend::DRAINING);
        let all = (0..).zip(maps.backends()).filter(|(_, value)| living(value.state));
        Ok(Self {
            all: all
                .map(|(id, value)| (id, maps::address(&value), value.port.get(), value.listener))
                .collect(),
        })
    }

    fn fickle(&self) -> impl Iterator<Item = (Ipv4Addr, u32)> {
        let fickle = self.all.iter().filter(|(_, _, port, _)| *port == FICKLE);
        fickle.map(|(id, address, ..)| (*address, *id))
    }

    /// Id and listener of a backend.
    fn of(&self, address: Ipv4Addr, port: u16) -> Result<(u32, u32)> {
        let found = self.all.iter().find(|(_, at, of, _)| (*at, *of) == (address, port));
        found
            .map(|(id, _, _, listener)| (*id, *listener))
            .with_context(|| format!("no backend {address}:{port}"))
    }
}

struct Driver<'a> {
    scene: &'a Scene,
    inventory: &'a mut Inventory,
    fickle: &'a mut Fickle,
    backends: Backends,
    facts: Sender<Facts>,
    objects: Sender<Effect>,
    /// These count changes, so that each takes another VM.
    step: u32,
    relabelled: u32,
    readdressed: u32,
    files: u32,
    bursts: u32,
    answers: Vec<f64>,
}

impl Driver<'_> {
    /// Spreads all changes over each second.
    fn drive(&mut self, started: Instant, progress: &Progress) -> Result<()> {
        let Size { window, changes: [flips, weights, labels, addresses], .. } = self.scene.size;
        let (facts, others) = (labels + addresses, flips + weights);
        for tick in 0.. {
            let at = Duration::from_secs(1) * tick / (facts + others);
            if at >= window {
                return Ok(());
            }
            sleep(at.saturating_sub(started.elapsed()));
            if is_turn(tick, facts, facts + others) {
                // The next file comes when the last one has been read, so that each line in the log is of one file.
                if progress.facts_read.load(Ordering::Acquire) == self.files {
                    self.change_facts(at)?;
                }
                continue;
            }
            self.step += 1;
            if is_turn(self.step, weights, others) {
                self.weigh()?;
            } else {
                self.flip()?;
            }
        }
        Ok(())
    }

    /// A VM of this remainder by four, another one each time.
    fn vm(&self, remainder: u32, count: u32) -> u32 {
        count % (self.scene.size.vms() / 4) * 4 + remainder
    }

    fn flip(&mut self) -> Result<()> {
        let Size { fickle, members, .. } = self.scene.size;
        // 7 has no common factor with the number of members: neighbours in time are none in place.
        let vm = self.step * 7 % (fickle * members);
        self.fickle.flip(self.inventory.address(vm))
    }

    fn weigh(&mut self) -> Result<()> {
        let vm = self.vm(0, u32::try_from(self.answers.len())?);
        let tier = self.scene.size.tiers - 1;
        let group = self.inventory.group(vm, tier);
        let port = self.scene.size.server_port(tier, group);
        let (id, _) = self.backends.of(self.inventory.address(vm), port)?;
        // Who waits for it is told first: the agent's word of it may come before its answer.
        self.objects.send(Effect::Weighs { id })?;
        let started = Instant::now();
        let body = format!("{{\"spec\":{{\"weights\":{{\"vm-{vm}\":3}}}}}}");
        self.patch(&name(tier, group), &body)?;
        self.answers.push(started.elapsed().as_secs_f64() * 1000.0);
        Ok(())
    }

    /// One VM, or a burst where it is time for one.
    fn change_facts(&mut self, at: Duration) -> Result<()> {
        let Size { burst, changes: [.., labels, addresses], .. } = self.scene.size;
        let (kind, labels, addresses) = if at >= burst * (self.bursts + 1) {
            self.bursts += 1;
            (Kind::Burst, labels, addresses)
        } else if is_turn(self.files, addresses, labels + addresses) {
            (Kind::Facts, 0, 1)
        } else {
            (Kind::Facts, 1, 0)
        };
        let mut effects = Vec::new();
        for _ in 0..labels {
            effects.push(self.relabel()?);
        }
        for _ in 0..addresses {
            effects.extend(self.readdress()?);
        }
        self.files += 1;
        self.facts.send(Facts { kind, written: Moment::now(), effects })?;
        self.inventory.write(&self.scene.installation)
    }

    fn relabel(&mut self) -> Result<Effect> {
        let Size { tiers, groups, .. } = self.scene.size;
        let vm = self.vm(1, self.relabelled);
        let tier = 1 + self.relabelled % (tiers - 1);
        let group = (self.inventory.group(vm, tier) + 1) % groups;
        self.relabelled += 1;
        self.inventory.relabel(vm, tier, group);
        self.serves(vm, tier)
    }

    fn readdress(&mut self) -> Result<Vec<Effect>> {
        let Size { tiers, fickle, members, .. } = self.scene.size;
        // The first VMs are those whose health changes.
        let first = self.readdressed + fickle * members / 4 + 1;
        let vm = (first..).map(|count| self.vm(2, count)).find(|vm| !self.scene.size.is_fickle(*vm));
        let vm = vm.context("all VMs are fickle")?;
        self.readdressed += 1;
        self.inventory.readdress(vm);
        (1..tiers).map(|tier| self.serves(vm, tier)).collect()
    }

    /// A VM serves its load balancer of this tier.
    fn serves(&self, vm: u32, tier: u32) -> Result<Effect> {
        let group = self.inventory.group(vm, tier);
        // A VM that has served it from the beginning knows its listener.
        let size = &self.scene.size;
        let first = (0..size.vms()).find(|vm| size.group(*vm, tier) == group && vm % 4 == 3);
        let first = first.context("no VM that stays")?;
        let (_, listener) = self.backends.of(self.inventory.address(first), size.server_port(tier, group))?;
        Ok(Effect::Serves { listener, address: self.inventory.address(vm) })
    }

    fn patch(&self, name: &str, body: &str) -> Result<()> {
        let socket = self.scene.installation.socket();
        let mut stream =
            UnixStream::connect(&socket).with_context(|| format!("connect to {}", socket.display()))?;
        let group = "/apis/loadbalancer.harvesterhci.io/v1beta1";
        let request = format!(
            "PATCH {group}/namespaces/{SHOP}/loadbalancers/{name} HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\
             Content-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).context("send a request")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("read an answer")?;
        drop(stream.shutdown(Shutdown::Both));
        ensure!(answer.starts_with("HTTP/1.1 200"), "PATCH {name} is answered by {answer}");
        Ok(())
    }
}

/// Whether it is the turn of `some` of `all`, which take turns evenly.
const fn is_turn(count: u32, some: u32, all: u32) -> bool {
    count * some / all != (count + 1) * some / all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_as_many_as_they_should_be_and_evenly_spread() {
        let turns: Vec<u32> = (0..100).filter(|count| is_turn(*count, 25, 100)).collect();
        assert_eq!(turns.len(), 25);
        assert!(turns.windows(2).all(|pair| pair[1] - pair[0] == 4), "{turns:?}");
        assert_eq!((0..33).filter(|count| is_turn(*count, 3, 11)).count(), 9);
    }
}
