//! Which backend a client keeps.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::btf_maps::LruHashMap;
use aya_ebpf::macros::btf_map;
use lb_common::affinity::{AffinityKey, AffinityValue};
use lb_common::backend::BackendRef;
use lb_common::config::expired;
use lb_common::map;
use lb_common::net::{Address, Ipv4, Ipv6};

use crate::backend;
use crate::config::Clock;

/// Written with each new flow of a listener with affinity. When it is full, the kernel forgets the client that
/// was away the longest. Two CPUs that write one client's entry at once both write what is right.
#[btf_map]
static AFFINITY_V4: LruHashMap<AffinityKey<Ipv4>, AffinityValue, { map::MAX_CLIENTS as usize }> =
    LruHashMap::new();

/// As [`AFFINITY_V4`].
#[btf_map]
static AFFINITY_V6: LruHashMap<AffinityKey<Ipv6>, AffinityValue, { map::MAX_CLIENTS as usize }> =
    LruHashMap::new();

/// Addresses whose backends are remembered.
pub trait Affine: Address {
    /// The id of the backend that a client keeps at a listener whose affinity is that long: 0 if there is none,
    /// its time is over, or it takes no new flows.
    fn kept(&self, listener: u32, affinity: u16) -> u32;

    /// A client's time with this backend begins anew. Where the kernel finds no room, nothing is remembered.
    fn keep(&self, listener: u32, affinity: u16, chosen: BackendRef);
}

/// Both verbs as functions that the verifier checks once, by themselves: global ones, which take numbers and
/// a pointer to an address.
macro_rules! clients {
    ($address:ty, $map:ident, $kept:ident, $keep:ident) => {
        impl Affine for $address {
            #[inline(always)]
            fn kept(&self, listener: u32, affinity: u16) -> u32 {
                // SAFETY: a reference is a valid pointer.
                unsafe { $kept(self, listener, u32::from(affinity)) }
            }

            #[inline(always)]
            fn keep(&self, listener: u32, affinity: u16, chosen: BackendRef) {
                // SAFETY: a reference is a valid pointer.
                unsafe { $keep(self, listener, u32::from(affinity), chosen.0) };
            }
        }

        /// # Safety
        ///
        /// `client` is null or points to an address.
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $kept(client: *const $address, listener: u32, affinity: u32) -> u32 {
            if affinity == 0 {
                return 0;
            }
            // SAFETY: promised by the caller, and checked by the verifier.
            let Some(&client) = (unsafe { client.as_ref() }) else { return 0 };
            // SAFETY: copied at once; what is recycled this very moment names a backend that is looked at.
            let kept = unsafe { $map.get(AffinityKey { client, listener }) }.copied();
            kept.map_or(0, |kept| still(kept, listener, affinity as u16))
        }

        /// Gives 0.
        ///
        /// # Safety
        ///
        /// `client` is null or points to an address.
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $keep(
            client: *const $address,
            listener: u32,
            affinity: u32,
            chosen: u32,
        ) -> u32 {
            if affinity == 0 {
                return 0;
            }
            // SAFETY: promised by the caller, and checked by the verifier.
            if let (Some(&client), Some(clock)) = (unsafe { client.as_ref() }, Clock::read()) {
                let key = AffinityKey { client, listener };
                let value = AffinityValue { backend: BackendRef(chosen), last_seen: clock.tick, padding: 0 };
                let _ = $map.insert(key, value, u64::from(BPF_ANY));
            }
            0
        }
    };
}

clients!(Ipv4, AFFINITY_V4, lb_kept_v4, lb_keep_client_v4);
clients!(Ipv6, AFFINITY_V6, lb_kept_v6, lb_keep_client_v6);

/// The id of a client's backend, if it still is that.
#[inline(always)]
fn still(kept: AffinityValue, listener: u32, affinity: u16) -> u32 {
    let Some(clock) = Clock::read() else { return 0 };
    match backend::active(kept.backend.id()) {
        Some((now, backend))
            if now == kept.backend
                && backend.listener == listener
                && !expired(kept.last_seen, clock.tick, affinity) =>
        {
            now.id()
        }
        _ => 0,
    }
}
