//! Networks that change, and interfaces that go and come.

use super::*;

const RELEASE: u8 = 7;

fn here() -> Place {
    Place { interface: "eth0".to_owned(), mac: NIC, link: LINK }
}

fn elsewhere() -> Place {
    Place { link: Link { vlan: 7, ..LINK }, ..here() }
}

impl World {
    /// With a load balancer that has an address in [`here`], and what is stored of its lease.
    fn bound() -> (Self, Lease) {
        let mut world = Self::new();
        world.wanted.insert(0);
        world.run(10, u64::MAX).unwrap();
        world.control();
        let lease = world.stored[&key(0)].clone();
        (world, lease)
    }

    /// As after a restart of the agent.
    fn restart(&mut self) {
        self.clients = Clients::new(SETTINGS, 2);
    }

    fn wish(&mut self, wish: Wish) {
        let wanted = Wanted { wishes: BTreeMap::from([(key(0), wish)]), served: BTreeSet::new() };
        self.clients.handle_wanted(&wanted, self.now, self.moment);
    }

    /// Links and kinds of the messages since this was asked last.
    fn said(&mut self) -> Vec<(Link, u8)> {
        let frames = self.clients.take_frames();
        frames.iter().filter_map(|(link, frame)| Some((*link, asked(frame)?.kind))).collect()
    }

    fn state(&self) -> State {
        self.clients.facts()[&key(0)].clone()
    }
}

#[test]
fn another_network_gets_another_address_and_the_old_one_back() {
    let mut world = World::new();
    world.wanted.insert(0);
    world.run(10, u64::MAX).unwrap();
    let place = elsewhere();
    let stored = world.stored.get(&key(0)).map(|lease| stored(lease, &here()));
    world.wish(Wish::Keep { place: Ok(place.clone()), stored });
    assert_eq!(world.said(), [(LINK, 7)], "a release where it was");
    assert!(world.held().is_empty());
    assert_eq!(world.clients.links(), BTreeSet::from([place.link]));
}

/// It was forgotten, and its address lent to nobody until its end.
#[test]
fn a_stored_lease_of_another_network_is_given_back_after_a_restart() {
    let (mut world, lease) = World::bound();
    world.restart();
    world.wish(Wish::Keep { place: Ok(elsewhere()), stored: Some(stored(&lease, &here())) });
    assert_eq!(world.said(), [(LINK, RELEASE)]);
    assert_eq!((world.state().lease, world.state().is_held), (None, false));
    assert_eq!(world.clients.links(), BTreeSet::from([elsewhere().link]));
}

/// The address was used, and renewed, in a network that never lent it.
#[test]
fn a_lease_whose_network_was_not_known_is_not_resumed_in_another() {
    let (mut world, lease) = World::bound();
    world.restart();
    let stored = Some(stored(&lease, &here()));
    world.wish(Wish::Keep { place: Err("no such network".to_owned()), stored: stored.clone() });
    assert_eq!(world.state().address(), Some(lease.address), "it lasts, wherever the next is asked for");
    world.wish(Wish::Keep { place: Ok(elsewhere()), stored });
    assert_eq!(world.state().address(), None);
    assert_eq!(world.said(), [(LINK, RELEASE)], "a release where it was");
    world.restart();
    let stored = Some(Stored { lease: lease.clone(), place: Some(here()) });
    world.wish(Wish::Keep { place: Err("no such network".to_owned()), stored: stored.clone() });
    world.wish(Wish::Keep { place: Ok(here()), stored });
    assert_eq!(world.state().address(), Some(lease.address), "its own network is back");
}

/// It counted as given back, though nobody had been told.
#[test]
fn a_lease_is_given_back_when_its_interface_returns() {
    let (mut world, lease) = World::bound();
    world.restart();
    let gone = Stored { lease: lease.clone(), place: None };
    for _ in 0..2 {
        world.wish(Wish::Release(gone.clone()));
        assert_eq!((world.state().lease, world.state().is_held), (Some(lease.clone()), false));
    }
    world.wish(Wish::Release(stored(&lease, &here())));
    assert_eq!(world.said(), [(LINK, RELEASE)]);
    assert_eq!((world.state().lease, world.state().phase), (None, Phase::Released));
}

#[test]
fn a_lease_whose_interface_never_returns_is_forgotten_at_its_end() {
    let (mut world, lease) = World::bound();
    world.restart();
    world.wish(Wish::Release(Stored { lease: lease.clone(), place: None }));
    let end = world.now + Duration::from_secs(LEASE);
    while world.state().lease.is_some() {
        let due = world.clients.poll_timeout().expect("its end is due");
        assert!(due <= end);
        world.wait(due.saturating_duration_since(world.now));
        world.clients.handle_timeout(world.now, world.moment);
    }
    assert_eq!(world.state().phase, Phase::Released);
    // One without an end is not waited for.
    let endless = Lease { length: None, renew_at: None, rebind_at: None, expires_at: None, ..lease };
    world.restart();
    world.wish(Wish::Release(Stored { lease: endless, place: None }));
    assert_eq!(world.state().phase, Phase::Released);
}

#[test]
fn a_load_balancer_that_is_created_again_keeps_the_lease_that_could_not_be_given_back() {
    let (mut world, lease) = World::bound();
    world.restart();
    world.wish(Wish::Release(Stored { lease: lease.clone(), place: None }));
    world.wish(Wish::Keep { place: Ok(here()), stored: Some(stored(&lease, &here())) });
    assert_eq!(world.state().address(), Some(lease.address));
    assert!(world.said().iter().all(|(_, kind)| *kind != RELEASE));
}
