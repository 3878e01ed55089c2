//! Packets in, verdicts and packets out.

use aya::maps::{Array, ArrayOfMaps, HashMap, MapData};
use aya::programs::{ProgramFd, TestRun as _, TestRunOptions};
use lb_common::backend::BackendValue;
use lb_common::config::ConfigValue;
use lb_common::known::{self, Settings, place_v4, place_v6};
use lb_common::listener::{ListenerKey, ListenerValue};
use lb_common::maglev::{SlotPair, pairs};
use lb_common::map;
use lb_common::net::{Ipv4, Ipv6, Mac};
use lb_common::next_hop::NextHop;
use lb_common::port::PortValue;
use lb_common::vip::VipValue;

use super::blank::is_blank;
use super::object::{Loaded, Programs};
use super::{Backend, Given, Hook, INTERFACE, Listener, Port, Verdict};
use crate::counters::{Counts, Delta};
use crate::packet::{Frame, difference};

/// Programs over filled maps.
pub struct Rig {
    pub(super) programs: Programs,
    hook: Hook,
    counted: Counts,
}

/// The tables of all listeners.
pub struct Tables(ArrayOfMaps<MapData, Array<MapData, SlotPair>>);

impl Tables {
    /// Fills a table for a listener that has backends, and swaps it in.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn put<A>(&mut self, listener: &Listener<A>) {
        let mut inner = Array::<MapData, SlotPair>::create(pairs(listener.value.slots), OF_ANY_SIZE)
            .expect("create a Maglev table");
        for pair in 0..pairs(listener.value.slots) {
            let slots = SlotPair([listener.slot(pair * 2), listener.slot(pair * 2 + 1)]);
            inner.set(pair, slots, 0).expect("write a Maglev table");
        }
        self.0.set(listener.value.index, &inner, 0).expect("write MAGLEV");
    }
}

/// `BPF_F_INNER_MAP` and `BPF_F_MMAPABLE`, as the programs declare them.
const OF_ANY_SIZE: u32 = 1 << 12 | 1 << 10;

/// The longest frame that a test run gives back.
const LONGEST: usize = 16 * 1024;

/// The size of the kernel's `struct __sk_buff`, and where two of its fields are.
const SK_BUFF: usize = 192;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;

impl Rig {
    pub(super) fn new(given: &Given, programs: Programs, hook: Hook) -> Self {
        let mut rig = Self { programs, hook, counted: Counts::default() };
        rig.configure(given.config);
        for (&interface, &port) in &given.ports {
            rig.set_port(interface, Port(port));
        }
        for (&id, &backend) in &given.backends {
            rig.set_backend(id, backend);
        }
        for (vip, value) in &given.vips {
            rig.know(place_v4(u32::from_ne_bytes(vip.0)), known::VIP);
            rig.hash::<Ipv4, VipValue>(map::VIPS_V4).insert(vip, value, 0).expect("write VIPS_V4");
        }
        for listener in &given.listeners {
            rig.set_listener(listener);
        }
        rig.enter_policies(given);
        for (vip, value) in &given.vips_v6 {
            rig.know(place_v6(vip.halves()), known::VIP);
            rig.hash::<Ipv6, VipValue>(map::VIPS_V6).insert(vip, value, 0).expect("write VIPS_V6");
        }
        for listener in &given.listeners_v6 {
            rig.set_table(listener);
            rig.hash::<ListenerKey<Ipv6>, ListenerValue>(map::LISTENERS_V6)
                .insert(listener.key, listener.value, 0)
                .expect("write LISTENERS_V6");
        }
        rig
    }

    /// The program of a hook with all its stages, to be run by others.
    ///
    /// # Panics
    /// When the verifier refuses it.
    pub fn handed_out(&mut self, hook: Hook) -> ProgramFd {
        let program = self.programs.program(hook);
        program.fd().expect("a loaded program").try_clone().expect("another descriptor")
    }

    /// The hook that packets meet.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// Runs a packet through the program of the rig's hook.
    ///
    /// # Panics
    /// When the kernel refuses the run.
    pub fn when(&mut self, frame: &impl Frame) -> Outcome {
        self.at(self.hook, frame)
    }

    /// Runs a packet out of the interface.
    ///
    /// # Panics
    /// When the kernel refuses the run.
    pub fn at_egress(&mut self, frame: &impl Frame) -> Outcome {
        self.at(Hook::TcEgress, frame)
    }

    /// Runs a packet through the program of any hook.
    ///
    /// # Panics
    /// When the kernel refuses the run.
    pub fn at(&mut self, hook: Hook, frame: &impl Frame) -> Outcome {
        self.run(hook, frame.bytes(), None)
    }

    /// Runs a segmentation-offload giant through a tc program: a device will cut its payload into pieces of
    /// `size` bytes.
    ///
    /// # Panics
    /// When the kernel refuses the run.
    pub fn at_segmented(&mut self, hook: Hook, frame: &impl Frame, size: u32) -> Outcome {
        let mut context = [0; SK_BUFF];
        context[GSO_SEGS..GSO_SEGS + 4].copy_from_slice(&2_u32.to_ne_bytes());
        context[GSO_SIZE..GSO_SIZE + 4].copy_from_slice(&size.to_ne_bytes());
        self.run(hook, frame.bytes(), Some(&context))
    }

    fn run(&mut self, hook: Hook, sent: Vec<u8>, context: Option<&[u8]>) -> Outcome {
        let mut frame = vec![0; LONGEST];
        let options = TestRunOptions {
            data_in: Some(&sent),
            data_out: Some(&mut frame),
            ctx_in: context,
            ..TestRunOptions::new()
        };
        let ran = match Loaded::from(self.programs.program_for(hook, &sent)) {
            Loaded::Xdp(xdp) => xdp.test_run(options),
            Loaded::Tc(tc) => tc.test_run(options),
        };
        let ran = ran.unwrap_or_else(|error| panic!("run {hook} with {} bytes: {error:#?}", sent.len()));
        frame.truncate(usize::try_from(ran.data_size_out).expect("a length"));
        Outcome { hook, code: ran.return_value.cast_signed(), sent, frame }
    }

    /// The names of the maps that hold anything.
    ///
    /// # Panics
    /// When they can't be read.
    pub fn filled(&self) -> Vec<String> {
        let filled = self.programs.maps().filter(|(name, map)| !is_blank(name, map));
        let mut names: Vec<_> = filled.map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    }

    /// What the counters have gained since they were last asked for.
    ///
    /// # Panics
    /// When they can't be read.
    pub fn delta(&mut self) -> Delta {
        let now = Counts::read(self.programs.maps());
        let delta = now.since(&self.counted);
        self.counted = now;
        delta
    }

    /// Writes CONFIG.
    ///
    /// # Panics
    /// When the kernel refuses, as everything that writes maps here.
    pub fn configure(&mut self, config: ConfigValue) {
        self.settings(|settings| settings.config = config);
    }

    /// What the programs know has this address, too.
    pub(super) fn know(&mut self, place: u16, role: u8) {
        self.settings(|settings| settings.known[usize::from(place)] |= role);
    }

    /// Says whether datagrams begin flows rather than follow them.
    pub fn expect_fresh(&mut self, is_so: bool) {
        self.settings(|settings| settings.fresh = u64::from(is_so));
    }

    /// Do the programs take datagrams to begin flows?
    pub fn expects_fresh(&mut self) -> bool {
        self.array::<Settings>(map::CONFIG).get(&0, 0).expect("read CONFIG").fresh != 0
    }

    fn settings(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut map = self.array::<Settings>(map::CONFIG);
        let mut settings = map.get(&0, 0).expect("read CONFIG");
        change(&mut settings);
        map.set(0, settings, 0).expect("write CONFIG");
    }

    /// Writes an interface into PORTS.
    pub fn set_port(&mut self, interface: u32, port: Port) {
        self.array::<PortValue>(map::PORTS).set(interface, port.0, 0).expect("write PORTS");
    }

    /// Says how many live flows a backend has.
    pub fn set_load(&mut self, id: u32, flows: u64) {
        self.array::<u64>(map::BACKEND_LOAD).set(id, flows, 0).expect("write BACKEND_LOAD");
    }

    /// How many live flows a backend has, as selection sees it.
    pub fn load(&mut self, id: u32) -> u64 {
        self.array::<u64>(map::BACKEND_LOAD).get(&id, 0).expect("read BACKEND_LOAD")
    }

    /// Writes a backend.
    pub fn set_backend(&mut self, id: u32, backend: Backend) {
        self.know(backend.place(), known::BACKEND);
        self.array::<BackendValue>(map::BACKENDS).set(id, backend.0, 0).expect("write BACKENDS");
    }

    fn set_table<A>(&mut self, listener: &Listener<A>) {
        if !listener.backends.is_empty() {
            self.tables().put(listener);
        }
    }

    /// Writes a listener and, where it has backends, its table.
    pub fn set_listener(&mut self, listener: &Listener) {
        self.set_table(listener);
        if let Some(prefix) = listener.range {
            return self.set_range(listener, prefix);
        }
        self.hash::<ListenerKey<Ipv4>, ListenerValue>(map::LISTENERS_V4)
            .insert(listener.key, listener.value, 0)
            .expect("write LISTENERS_V4");
    }

    /// MAGLEV, to be written to from elsewhere while packets come.
    pub fn tables(&mut self) -> Tables {
        let aya::maps::Map::ArrayOfMaps(data) = self.map(map::MAGLEV) else {
            panic!("MAGLEV is an array of maps")
        };
        let id = data.info().expect("read MAGLEV").id();
        let data = MapData::from_id(id).expect("open MAGLEV");
        Tables(aya::maps::Map::ArrayOfMaps(data).try_into().expect("MAGLEV is an array of maps"))
    }

    /// Removes a VIP.
    pub fn remove_vip(&mut self, vip: Ipv4) {
        self.hash::<Ipv4, VipValue>(map::VIPS_V4).remove(&vip).expect("remove from VIPS_V4");
    }

    /// Enters a next hop as if its packets had been seen, and gives its index.
    pub fn learned(&mut self, mac: Mac, interface: u32) -> u16 {
        const INDEX: u16 = 77;
        let hop = NextHop { identity: NextHop::identity(mac, interface), ifindex: interface, vlans: 0 };
        self.array::<NextHop>(map::NEXT_HOPS).set(u32::from(INDEX), hop, 0).expect("write NEXT_HOPS");
        INDEX
    }

    /// The next hop with this index.
    pub fn next_hop(&mut self, index: u16) -> (Mac, u32) {
        let hop = self.array::<NextHop>(map::NEXT_HOPS).get(&u32::from(index), 0).expect("read NEXT_HOPS");
        (hop.mac(), hop.ifindex)
    }

    /// The index of a client's next hop on [`INTERFACE`], if it was learned.
    pub fn next_hop_of(&mut self, mac: Mac) -> Option<u16> {
        let identity = NextHop::identity(mac, INTERFACE);
        let hops = self.array::<NextHop>(map::NEXT_HOPS);
        let found = hops.iter().position(|hop| hop.expect("read NEXT_HOPS").identity == identity)?;
        Some(u16::try_from(found).expect("an index of 16 bits"))
    }

    pub(super) fn map(&mut self, name: &str) -> &mut aya::maps::Map {
        self.programs.ebpf.map_mut(name).unwrap_or_else(|| panic!("no map {name}"))
    }

    pub(super) fn array<V: aya::Pod>(&mut self, name: &str) -> Array<&mut MapData, V> {
        self.map(name).try_into().unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(super) fn hash<K: aya::Pod, V: aya::Pod>(&mut self, name: &str) -> HashMap<&mut MapData, K, V> {
        self.map(name).try_into().unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

/// What came out.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Outcome {
    hook: Hook,
    code: i32,
    sent: Vec<u8>,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
}

impl Outcome {
    /// Has to be this verdict and this frame, every byte of it.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn then(&self, verdict: Verdict, expected: &impl Frame) {
        if let Some(difference) = difference(&expected.bytes(), &self.frame) {
            panic!("{}: return value {}; {difference}", self.hook, self.code);
        }
        self.then_is(verdict);
    }

    /// Has to be this verdict, whatever the frame.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn then_is(&self, verdict: Verdict) {
        let expected = self.hook.code(verdict);
        assert_eq!(self.code, expected, "{}: return value, {verdict:?} expected", self.hook);
    }

    /// Has to be passed as it came.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn then_untouched(&self) {
        self.then(Verdict::Pass, &self.sent);
    }

    /// Has to be dropped as it came.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn then_dropped(&self) {
        self.then(Verdict::Drop, &self.sent);
    }

    /// Whether it is this verdict.
    pub fn is(&self, verdict: Verdict) -> bool {
        self.code == self.hook.code(verdict)
    }
}
