//! Networks that change, and interfaces that go and come.

use super::*;

const DISCOVER: u8 = 1;
const RELEASE: u8 = 7;

/// A lease whose interface is gone.
fn nowhere(lease: &Lease) -> Stored {
    Stored { lease: lease.clone(), place: None }
}

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
        self.wishes([(key(0), wish)]);
    }

    fn wishes<const N: usize>(&mut self, wishes: [(NamespacedName, Wish); N]) {
        let wanted = Wanted { wishes: wishes.into(), served: BTreeSet::new() };
        self.clients.handle_wanted(&wanted, self.now, self.moment);
    }

    /// Links and kinds of the messages since this was asked last.
    fn said(&mut self) -> Vec<(Link, u8)> {
        let frames = self.clients.take_frames();
        frames.iter().filter_map(|(link, frame)| Some((*link, asked(frame)?.kind))).collect()
    }

    /// Lets time go by, for as long as a lease lasts at most.
    fn until(&mut self, is_so: impl Fn(&mut Self) -> bool) {
        let end = self.now + Duration::from_secs(LEASE);
        while !is_so(self) {
            let due = self.clients.poll_timeout().expect("something is due");
            assert!(due <= end);
            self.wait(due.saturating_duration_since(self.now));
            self.clients.handle_timeout(self.now, self.moment);
        }
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

#[test]
fn an_address_is_announced_where_its_mac_is_another() {
    let (mut world, lease) = World::bound();
    world.clients.take_frames();
    let stored = stored(&lease, &here());
    let moved = Place { mac: Mac([2, 0, 0, 0, 0, 9]), ..here() };
    for (place, announced) in [(here(), 0), (moved.clone(), 1), (moved.clone(), 0)] {
        world.wish(Wish::Keep { place: Ok(place), stored: Some(stored.clone()) });
        let announcement = frame::announcement(lease.address, moved.mac, LINK.vlan);
        let frames = world.clients.take_frames();
        assert_eq!(frames, vec![(LINK, announcement); announced]);
    }
    world.wait(Duration::from_secs(2));
    world.clients.handle_timeout(world.now, world.moment);
    assert_eq!(world.clients.take_frames().len(), 1, "twice");
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

/// It counted as given back, though nobody had been told: the agent spoke where the interface had been.
#[test]
fn a_lease_whose_interface_goes_while_the_agent_runs_is_given_back_when_it_returns() {
    let (mut world, lease) = World::bound();
    let keep = Wish::Keep { place: Err("gone".to_owned()), stored: Some(nowhere(&lease)) };
    world.wish(keep);
    for _ in 0..2 {
        world.wish(Wish::Release(nowhere(&lease)));
        assert_eq!((world.state().lease, world.state().is_held), (Some(lease.clone()), false));
    }
    assert_eq!(world.said(), []);
    let anew = Place { link: Link { ifindex: 9, ..LINK }, ..here() };
    world.wish(Wish::Release(stored(&lease, &anew)));
    assert_eq!(world.said(), [(anew.link, RELEASE)]);
    assert_eq!((world.state().lease, world.state().phase), (None, Phase::Released));
}

/// The message went to the interface that was no more.
#[test]
fn a_lease_is_given_back_on_the_interface_that_has_the_name_now() {
    let anew = Place { link: Link { ifindex: 9, ..LINK }, ..here() };
    let (mut world, lease) = World::bound();
    world.wish(Wish::Release(stored(&lease, &anew)));
    assert_eq!(world.said(), [(anew.link, RELEASE)]);
    let (mut world, lease) = World::bound();
    world.wish(Wish::Keep { place: Ok(elsewhere()), stored: Some(stored(&lease, &anew)) });
    assert_eq!(world.said(), [(anew.link, RELEASE)]);
}

#[test]
fn a_lease_whose_interface_goes_for_ever_while_the_agent_runs_is_forgotten_at_its_end() {
    let (mut world, lease) = World::bound();
    world.wish(Wish::Release(nowhere(&lease)));
    world.until(|world| world.state().lease.is_none());
    assert_eq!(world.state().phase, Phase::Released);
    assert_eq!(world.said(), []);
}

/// The record was the new network's at once: nobody gave the old address back, or kept pools from giving it.
#[test]
fn what_is_left_where_no_interface_is_is_remembered_and_given_back_when_it_returns() {
    for restarts in [false, true] {
        let (mut world, lease) = World::bound();
        if restarts {
            world.restart();
        }
        world.wish(Wish::Keep { place: Ok(elsewhere()), stored: Some(nowhere(&lease)) });
        assert_eq!((world.state().lease, world.state().is_held), (None, false));
        let left = left::key(&key(0), lease.network());
        let is_left = |world: &World| world.clients.facts()[&left].lease.as_ref() == Some(&lease);
        assert!(is_left(&world));
        assert!(world.said().iter().all(|(link, kind)| (*link, *kind) == (elsewhere().link, DISCOVER)));
        let keep = Wish::Keep { place: Ok(elsewhere()), stored: None };
        world.wishes([(key(0), keep.clone())]);
        assert!(is_left(&world), "before it is stored");
        if restarts {
            world.restart();
        }
        world.wishes([(key(0), keep.clone()), (left.clone(), Wish::Release(nowhere(&lease)))]);
        assert!(is_left(&world));
        world.said();
        world.wishes([(key(0), keep), (left.clone(), Wish::Release(stored(&lease, &here())))]);
        let frames = world.clients.take_frames();
        let [(LINK, frame)] = &frames[..] else { panic!("{frames:?}") };
        let said = asked(frame).unwrap();
        assert_eq!((said.kind, said.using), (RELEASE, Some(lease.address)));
        assert_eq!(said.client_id, identity(&key(0), SETTINGS.hardware, NIC).client_id, "who borrowed it");
        assert_eq!(world.clients.facts()[&left].lease, None);
    }
}

#[test]
fn what_is_left_where_no_interface_is_is_forgotten_at_its_end() {
    let (mut world, lease) = World::bound();
    let left = left::key(&key(0), lease.network());
    world.wish(Wish::Keep { place: Ok(elsewhere()), stored: Some(nowhere(&lease)) });
    world.until(|world| world.clients.facts()[&left].lease.is_none());
    assert!(world.said().iter().all(|(link, _)| *link == elsewhere().link));
}

#[test]
fn a_load_balancer_that_returns_to_a_network_takes_up_the_lease_that_it_left_there() {
    for restarts in [false, true] {
        let (mut world, lease) = World::bound();
        world.wish(Wish::Keep { place: Ok(elsewhere()), stored: Some(nowhere(&lease)) });
        if restarts {
            world.restart();
        }
        let left = left::key(&key(0), lease.network());
        let keep = Wish::Keep { place: Ok(here()), stored: None };
        let wishes = [(key(0), keep), (left.clone(), Wish::Release(stored(&lease, &here())))];
        for _ in 0..2 {
            world.wishes(wishes.clone());
            assert_eq!(world.state().address(), Some(lease.address));
            assert_eq!(world.clients.facts()[&left].lease, None, "its record goes");
            assert!(world.said().iter().all(|(_, kind)| *kind != RELEASE));
        }
    }
}

/// As a bridge that has another name now: to the server it is the same client.
#[test]
fn a_network_behind_another_interface_lends_the_same_address_again() {
    let (mut world, lease) = World::bound();
    let renamed = Place { interface: "eth1".to_owned(), ..here() };
    world.wish(Wish::Keep { place: Ok(renamed), stored: Some(nowhere(&lease)) });
    world.until(|world| {
        world.exchange(&mut u64::MAX.clone());
        world.state().is_held
    });
    assert_eq!(world.state().address(), Some(lease.address));
    assert_eq!(world.clients.facts()[&left::key(&key(0), lease.network())].lease, None, "one record of it");
    assert!(world.said().iter().all(|(_, kind)| *kind != RELEASE));
}

/// It counted as given back, though nobody had been told.
#[test]
fn a_lease_is_given_back_when_its_interface_returns() {
    let (mut world, lease) = World::bound();
    world.restart();
    let gone = nowhere(&lease);
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
    world.wish(Wish::Release(nowhere(&lease)));
    world.until(|world| world.state().lease.is_none());
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
    world.wish(Wish::Release(nowhere(&lease)));
    world.wish(Wish::Keep { place: Ok(here()), stored: Some(stored(&lease, &here())) });
    assert_eq!(world.state().address(), Some(lease.address));
    assert!(world.said().iter().all(|(_, kind)| *kind != RELEASE));
}

/// Its server was told where the interface had been, and the lease was forgotten.
#[test]
fn a_lease_too_new_to_be_stored_is_given_back_when_its_interface_returns() {
    let (mut world, lease) = World::bound();
    world.wish(Wish::Keep { place: Err("gone".to_owned()), stored: None });
    let left = left::key(&key(0), here().network());
    for _ in 0..2 {
        world.wishes([]);
        let facts = world.clients.facts();
        assert_eq!(facts.keys().collect::<Vec<_>>(), [&left]);
        assert_eq!((&facts[&left].lease, facts[&left].is_held), (&Some(lease.clone()), false));
    }
    assert_eq!(world.said(), []);
    world.wishes([(left.clone(), Wish::Release(stored(&lease, &here())))]);
    assert_eq!(world.said(), [(LINK, RELEASE)]);
    assert_eq!(world.clients.facts()[&left].lease, None);
}

#[test]
fn a_lease_too_new_to_be_stored_is_given_back_at_once() {
    let (mut world, _) = World::bound();
    world.wishes([]);
    assert_eq!(world.said(), [(LINK, RELEASE)]);
    assert!(world.clients.facts().is_empty());
}

/// That no server answers was all that was said.
#[test]
fn a_frame_that_is_not_sent_is_told_until_one_is() {
    let (mut world, lease) = World::bound();
    let is_down = BTreeMap::from([(LINK, "network is down".to_owned())]);
    world.clients.handle_silence(&is_down);
    let problem = Some("nothing can be sent on eth0: network is down".to_owned());
    assert_eq!((world.state().problem, world.state().address()), (problem, Some(lease.address)));
    world.clients.handle_silence(&BTreeMap::from([(elsewhere().link, String::new())]));
    assert_eq!(world.state().problem, None);
}
