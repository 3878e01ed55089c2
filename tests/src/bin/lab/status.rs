//! `lab status`.

use std::fs;

use anyhow::Result;
use lb_tests::lab::namespace;
use lb_tests::lab::registry::LabId;

use crate::up::GUIDE;

pub(crate) fn run() -> Result<()> {
    let labs = LabId::all()?;
    if labs.is_empty() {
        println!("no labs; make one with `cargo xtask lab up`");
    }
    for id in labs {
        if let Ok(guide) = fs::read_to_string(id.directory().join(GUIDE)) {
            println!("{guide}");
        } else {
            let namespaces = namespace::with_prefix(&id.prefix())?;
            let names: Vec<&str> = namespaces.iter().map(namespace::Namespace::name).collect();
            println!("Lab {id}, of a running test or demo: {}\n", names.join(" "));
        }
    }
    Ok(())
}
