//! Keys of longest-prefix matches.

use aya_ebpf::btf_maps::lpm_trie::Key;

/// A key as it is looked up, placed so that what follows the length is aligned to 8: the compiler writes it in
/// words, which the verifier wants to see aligned on the stack.
#[repr(C, align(8))]
pub struct Whole<K> {
    padding: u32,
    key: Key<K>,
}

impl<K> Whole<K> {
    /// Of a key all of whose bits count.
    #[inline(always)]
    pub const fn new(key: K) -> Self {
        Self { padding: 0, key: Key::new(8 * size_of::<K>() as u32, key) }
    }

    /// As the map takes it.
    #[inline(always)]
    pub const fn key(&self) -> &Key<K> {
        &self.key
    }
}
