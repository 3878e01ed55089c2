//! CONFIG, in this process's memory: what tunes the programs, and the addresses that they know.

use std::mem::transmute;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use lb_common::config::ConfigValue;
use lb_common::known::{BACKEND, VIP, place_v4, place_v6};
use lb_common::map;

use super::error::KernelError;
use super::flows::mapping::Mapping;
use super::maps::{batch_failed, whole};
use super::pins::Pins;

const WORDS: usize = size_of::<ConfigValue>() / 8;

/// Programs see each word as it was or as it is.
pub(super) struct SharedSettings(Mapping);

impl SharedSettings {
    /// Of the pinned map.
    pub(super) fn open(pins: &Pins) -> Result<Self, KernelError> {
        let mapping = Mapping::new(&whole(pins, map::CONFIG)?);
        mapping.map(Self).map_err(batch_failed("open", map::CONFIG))
    }

    /// What tunes the programs.
    pub(super) fn config(&self) -> ConfigValue {
        let mut words = [0_u64; WORDS];
        for (word, shared) in words.iter_mut().zip(self.0.words()) {
            *word = shared.load(Ordering::Relaxed);
        }
        // SAFETY: the value is as long, without padding, and any bits are its integers.
        unsafe { transmute(words) }
    }

    /// Tunes them.
    pub(super) fn set(&self, config: ConfigValue) {
        // SAFETY: as above.
        let words: [u64; WORDS] = unsafe { transmute(config) };
        for (word, shared) in words.into_iter().zip(self.0.words()) {
            shared.store(word, Ordering::Release);
        }
    }

    /// Sets or clears flags.
    pub(super) fn flag(&self, flag: u16, wanted: bool) {
        let config = self.config();
        let flags = if wanted { config.flags | flag } else { config.flags & !flag };
        self.set(ConfigValue { flags, ..config });
    }

    /// Makes the address of a VIP known, before there is anything that has to do with it.
    pub(super) fn know_vip(&self, address: IpAddr) {
        self.know(address, VIP);
    }

    /// Makes the address of a backend known, likewise.
    pub(super) fn know_backend(&self, address: IpAddr) {
        self.know(address, BACKEND);
    }

    fn know(&self, address: IpAddr, role: u8) {
        let (place, bits) = place_of(address, role);
        if let Some(word) = self.0.words().get(WORDS + place) {
            word.fetch_or(bits, Ordering::SeqCst);
        }
    }

    /// Is an address known, or does it share the place of one that is?
    #[cfg(test)]
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        let (place, bits) = place_of(address, u8::MAX);
        self.0.words().get(WORDS + place).unwrap().load(Ordering::SeqCst) & bits != 0
    }

    /// Makes the addresses of VIPs and of backends known, and nothing else.
    pub(super) fn know_only(
        &self,
        vips: impl IntoIterator<Item = IpAddr>,
        backends: impl IntoIterator<Item = IpAddr>,
    ) {
        let vips = vips.into_iter().map(|address| place_of(address, VIP));
        let backends = backends.into_iter().map(|address| place_of(address, BACKEND));
        let mut known = vec![0_u64; self.0.words().len().saturating_sub(WORDS)];
        for (place, bits) in vips.chain(backends) {
            if let Some(word) = known.get_mut(place) {
                *word |= bits;
            }
        }
        for (word, shared) in known.into_iter().zip(self.0.words().iter().skip(WORDS)) {
            shared.store(word, Ordering::Release);
        }
    }
}

/// Where an address is known in this role: the index of the word, and its bits.
fn place_of(address: IpAddr, role: u8) -> (usize, u64) {
    let place = usize::from(match address {
        IpAddr::V4(v4) => place_v4(u32::from_ne_bytes(v4.octets())),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = v6.octets();
            let first = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
            place_v6((first, u64::from_ne_bytes([i, j, k, l, m, n, o, p])))
        }
    });
    (place / 8, u64::from(role) << (place % 8 * 8))
}
