//! Listening: the programs write events as long as a bit of CONFIG is set.
//!
//! The bit falls when the listening ends; should the agent die meanwhile, the next one clears it.

use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use lb_common::config::EVENTS_WANTED;
use lb_common::event::{self, CLOSED, DROPPED, Event as Written, LOST_DROPS, LOST_FLOWS, OPENED};
use lb_common::flow::FlowEntry;
use lb_common::map;
use lb_common::net::{Ipv4, Ipv6};
use lb_common::reason::Reason;

use super::capture::{Turn, side, wait};
use super::refused;
use crate::datapath::kernel::error::KernelError;
use crate::datapath::kernel::family::MapAddress;
use crate::datapath::kernel::flows::{self, Ends};
use crate::datapath::kernel::maps::{failed, whole};
use crate::datapath::kernel::pins::Pins;
use crate::datapath::kernel::settings::SharedSettings;
use crate::datapath::observe::event::{Event, Happening, Listening, LostEvents};
use crate::datapath::observe::{Frame, ObserveError};

/// Events that one call gives.
const BATCH: usize = 4096;

/// Somebody listens.
pub(super) struct Listener {
    settings: SharedSettings,
    ring: RingBuf<MapData>,
    lost: PerCpuArray<MapData, u64>,
    /// What had been lost before.
    before: LostEvents,
    ends: Arc<Ends>,
    _turn: Turn,
}

impl Listener {
    pub(super) fn start(pins: &Pins, ends: Arc<Ends>, turn: Turn) -> Result<Self, KernelError> {
        let mut ring: RingBuf<MapData> =
            Map::RingBuf(whole(pins, map::EVENTS)?).try_into().map_err(failed("open", map::EVENTS))?;
        let lost = Map::PerCpuArray(whole(pins, map::EVENTS_LOST)?);
        let lost = lost.try_into().map_err(failed("open", map::EVENTS_LOST))?;
        // What somebody before did not read.
        while ring.next().is_some() {}
        let mut listener = Self {
            settings: SharedSettings::open(pins)?,
            ring,
            lost,
            before: LostEvents::default(),
            ends,
            _turn: turn,
        };
        listener.before = listener.counted()?;
        listener.ends.keep(true);
        listener.settings.flag(EVENTS_WANTED, true);
        Ok(listener)
    }

    fn counted(&self) -> Result<LostEvents, KernelError> {
        let sum = |class| {
            let counts = self.lost.get(&class, 0).map_err(failed("read", map::EVENTS_LOST))?;
            Ok::<u64, KernelError>(counts.iter().sum())
        };
        Ok(LostEvents { flows: sum(LOST_FLOWS)?, drops: sum(LOST_DROPS)? })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.ends.keep(false);
        self.settings.flag(EVENTS_WANTED, false);
    }
}

impl Listening for Listener {
    fn events(&mut self, patience: Duration) -> Result<Vec<Event>, ObserveError> {
        let mut events = self.ends.take(BATCH);
        if events.is_empty() {
            wait(self.ring.as_raw_fd(), patience).map_err(|error| ObserveError::Refused(error.into()))?;
        }
        while events.len() < BATCH
            && let Some(item) = self.ring.next()
        {
            events.extend(read(&item));
        }
        Ok(events)
    }

    fn lost(&self) -> Result<LostEvents, ObserveError> {
        let now = self.counted().map_err(refused)?;
        Ok(LostEvents {
            flows: now.flows.saturating_sub(self.before.flows) + self.ends.lost(),
            drops: now.drops.saturating_sub(self.before.drops),
        })
    }
}

/// `None` for an entry of another size or kind, which nobody writes.
fn read(bytes: &[u8]) -> Option<Event> {
    let bytes = bytes.get(..size_of::<Written>())?;
    // SAFETY: as many bytes as the type has, every pattern of which is a value; they need not be aligned.
    let written = unsafe { bytes.as_ptr().cast::<Written>().read_unaligned() };
    let time = Duration::from_nanos(written.time);
    let flow = || match written.family {
        4 => Some(flow::<Ipv4>(&written)),
        6 => Some(flow::<Ipv6>(&written)),
        _ => None,
    };
    let happening = match written.kind {
        OPENED => Happening::Opened(flow()?),
        CLOSED => Happening::Closed { flow: flow()?, carried: flows::carried(&written.carried, time) },
        DROPPED => dropped(&written),
        _ => return None,
    };
    Some(Event { time, happening })
}

fn flow<A: MapAddress>(written: &Written) -> crate::datapath::flows::model::Flow {
    const { assert!(size_of::<FlowEntry<A>>() <= event::BODY) };
    // SAFETY: the body is longer than an entry, every bytes of which are one; they need not be aligned.
    let entry = unsafe { written.body.as_ptr().cast::<FlowEntry<A>>().read_unaligned() };
    flows::told(&entry)
}

fn dropped(written: &Written) -> Happening {
    let taken = usize::try_from(written.length).unwrap_or(event::BODY).min(event::BODY);
    let reason = usize::try_from(written.reason).ok().and_then(|index| Reason::ALL.get(index).copied());
    Happening::Dropped {
        reason,
        interface: written.interface,
        side: side(written.hook),
        frame: Frame { length: written.length, bytes: written.body.iter().copied().take(taken).collect() },
    }
}
