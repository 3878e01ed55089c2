//! What is announced where, how often, and how fast.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lb_common::net::Mac;

/// How often each is told (RFC 5227 section 1.1, `ANNOUNCE_NUM`). Neighbours that have just heard something else
/// believe the second time only.
const ROUNDS: u32 = 2;
/// From one time to the next (RFC 5227 section 1.1, `ANNOUNCE_INTERVAL`).
const INTERVAL: Duration = Duration::from_secs(2);
/// Frames that are sent in one go.
const BURST: usize = 32;
/// The pause after so many.
const PAUSE: Duration = Duration::from_millis(10);

/// What is served, and where.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Announced {
    /// VIPs, each with its VLAN, 0 for none; but for those that DHCP servers lend: whoever takes a lease announces it.
    pub vips: BTreeMap<IpAddr, u16>,
    /// The interfaces that face the network, by index.
    pub ports: BTreeMap<u32, Face>,
}

/// How an interface shows itself to the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Face {
    /// The MAC with which it answers for VIPs.
    pub mac: Mac,
    /// It is a VLAN's own, and adds the tag itself.
    pub adds_tag: bool,
}

/// Tells an interface's network where a VIP is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announcement {
    /// The index of the interface.
    pub ifindex: u32,
    /// Where it is.
    pub mac: Mac,
    /// Which.
    pub vip: IpAddr,
    /// The frame's tag; 0 is none.
    pub vlan: u16,
}

/// What has to be told yet.
#[derive(Default, Debug)]
pub struct Announcements {
    announced: Announced,
    due: BTreeMap<(u32, IpAddr), Due>,
    /// Nothing is sent before.
    paused_until: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    rounds: u32,
}

impl Announcements {
    /// Takes over what is served now: what is new is due at once, what is gone is told no more.
    pub fn handle(&mut self, announced: &Announced, now: Instant) {
        let before = std::mem::replace(&mut self.announced, announced.clone());
        self.due.retain(|(ifindex, vip), _| {
            announced.ports.contains_key(ifindex) && announced.vips.contains_key(vip)
        });
        for (ifindex, face) in &announced.ports {
            let has_moved = before.ports.get(ifindex) != Some(face);
            let new =
                announced.vips.iter().filter(|(vip, vlan)| has_moved || before.vips.get(vip) != Some(vlan));
            self.due.extend(new.map(|(vip, _)| ((*ifindex, *vip), Due { at: now, rounds: ROUNDS })));
        }
    }

    /// When [`Announcements::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let next = self.due.values().map(|due| due.at).min()?;
        Some(self.paused_until.map_or(next, |until| next.max(until)))
    }

    /// What is to be sent now.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Announcement> {
        let mut sent = Vec::new();
        let due = self.due.iter_mut().filter(|(_, due)| due.at <= now);
        for (&(ifindex, vip), due) in due.take(BURST) {
            let Announced { vips, ports } = &self.announced;
            if let (Some(face), Some(&vlan)) = (ports.get(&ifindex), vips.get(&vip)) {
                let vlan = if face.adds_tag { 0 } else { vlan };
                sent.push(Announcement { ifindex, mac: face.mac, vip, vlan });
            }
            due.at = now + INTERVAL;
            due.rounds -= 1;
        }
        self.due.retain(|_, due| due.rounds > 0);
        self.paused_until = Some(now + PAUSE);
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn announced(hosts: impl IntoIterator<Item = u8>, ports: &[(u32, Mac)]) -> Announced {
        let vips = hosts.into_iter().map(|host| (IpAddr::from([192, 0, 2, host]), 0)).collect();
        let faces = ports.iter().map(|(ifindex, mac)| (*ifindex, Face { mac: *mac, adds_tag: false }));
        Announced { vips, ports: faces.collect() }
    }

    /// All that is sent until nothing is due, by interface, MAC and last byte, and how long that takes.
    fn all(announcements: &mut Announcements, start: Instant) -> (Vec<(u32, Mac, u8)>, Duration) {
        let (mut sent, mut now) = (Vec::new(), start);
        while let Some(due) = announcements.poll_timeout() {
            now = now.max(due);
            let burst = announcements.handle_timeout(now);
            assert!(burst.len() <= BURST);
            sent.extend(burst.into_iter().map(|one| {
                let IpAddr::V4(vip) = one.vip else { panic!("{one:?}") };
                (one.ifindex, one.mac, vip.octets()[3])
            }));
        }
        (sent, now - start)
    }

    #[test]
    fn what_is_new_is_told_twice() {
        let mut announcements = Announcements::default();
        let start = Instant::now();
        announcements.handle(&announced([80], &[(2, ONE)]), start);
        assert_eq!(all(&mut announcements, start), (vec![(2, ONE, 80); 2], INTERVAL));
        announcements.handle(&announced([80], &[(2, ONE)]), start);
        assert_eq!(announcements.poll_timeout(), None, "nothing is new");
        announcements.handle(&announced([80, 81], &[(2, ONE)]), start);
        assert_eq!(all(&mut announcements, start).0, [(2, ONE, 81); 2], "a VIP");
        announcements.handle(&announced([81], &[(2, OTHER)]), start);
        assert_eq!(all(&mut announcements, start).0, [(2, OTHER, 81); 2], "a MAC");
        announcements.handle(&announced([81], &[(2, OTHER), (3, ONE)]), start);
        assert_eq!(all(&mut announcements, start).0, [(3, ONE, 81); 2], "an interface");
        announcements.handle(&announced([], &[(2, OTHER), (3, ONE)]), start);
        announcements.handle(&announced([81], &[(2, OTHER)]), start);
        assert_eq!(all(&mut announcements, start).0, [(2, OTHER, 81); 2], "it was another's meanwhile");
    }

    #[test]
    fn what_is_gone_is_told_no_more_and_what_moves_again_anew() {
        let mut announcements = Announcements::default();
        let start = Instant::now();
        announcements.handle(&announced([80, 81], &[(2, ONE)]), start);
        assert_eq!(announcements.handle_timeout(start).len(), 2);
        announcements.handle(&announced([81], &[(2, OTHER)]), start);
        assert_eq!(all(&mut announcements, start).0, [(2, OTHER, 81); 2]);
    }

    #[test]
    fn who_is_in_a_vlan_is_told_there() {
        let mut announcements = Announcements::default();
        let start = Instant::now();
        let mut tagged = announced([80, 81], &[(2, ONE), (3, OTHER)]);
        announcements.handle(&tagged, start);
        all(&mut announcements, start);
        tagged.vips.insert([192, 0, 2, 81].into(), 7);
        tagged.ports.get_mut(&3).unwrap().adds_tag = true;
        announcements.handle(&tagged, start);
        let mut sent = announcements.handle_timeout(start + PAUSE);
        sent.retain(|one| one.vip == IpAddr::from([192, 0, 2, 81]));
        let tags: Vec<_> = sent.iter().map(|one| (one.ifindex, one.vlan)).collect();
        assert_eq!(tags, [(2, 7), (3, 0)], "what is a VLAN's own adds its tag itself");
    }

    #[test]
    fn many_are_told_in_bursts() {
        let mut announcements = Announcements::default();
        let start = Instant::now();
        announcements.handle(&announced(0..=255, &[(2, ONE), (3, ONE)]), start);
        let (sent, took) = all(&mut announcements, start);
        assert_eq!(sent.len(), 2 * 512);
        assert!(took >= INTERVAL + PAUSE * 15 && took < INTERVAL + PAUSE * 40, "{took:?}");
    }
}
