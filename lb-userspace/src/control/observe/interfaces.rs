//! Names of interfaces, each asked for once.

use std::collections::BTreeMap;

/// By index.
#[derive(Default)]
pub(super) struct Interfaces(BTreeMap<u32, String>);

impl Interfaces {
    /// Its name; `if7` where it is gone.
    pub(super) fn name(&mut self, index: u32) -> &str {
        self.0.entry(index).or_insert_with(|| {
            let name = nix::net::if_::if_indextoname(index).ok();
            name.map_or_else(|| format!("if{index}"), |name| name.to_string_lossy().into_owned())
        })
    }
}
