//! `lab down`.

use anyhow::{Result, bail};
use lb_tests::lab::registry::{self, LabId};

pub(crate) fn run(wanted: Option<&str>) -> Result<()> {
    registry::sweep()?;
    let labs = LabId::all()?;
    if let Some(wanted) = wanted
        && !labs.iter().any(|id| id.to_string() == wanted)
    {
        bail!("there is no lab {wanted}; `cargo xtask lab status` lists them");
    }
    for id in labs {
        // Without a name, labs of running tests are left alone.
        if wanted.map_or_else(|| id.is_kept(), |wanted| id.to_string() == wanted) {
            id.remove()?;
            println!("removed lab {id}");
        }
    }
    Ok(())
}
