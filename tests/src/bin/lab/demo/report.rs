//! The table at the end of the demonstration.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use lb_tests::lab::{Lab, Spec};
use serde_json::Value;

use crate::console::{heading, mark};

/// What was seen.
#[derive(Default)]
pub(crate) struct Report {
    /// Interface, role, hook, and why that hook.
    pub(crate) hooks: Vec<[String; 4]>,
    /// Requests by VM.
    pub(crate) spread: BTreeMap<String, u32>,
    pub(crate) addresses: BTreeMap<String, Ipv4Addr>,
    /// The VM whose server died, and how long it took to take it out.
    pub(crate) out: Option<(String, Duration)>,
    /// How long it took from its start until it answered.
    pub(crate) back: Option<Duration>,
    pub(crate) failed_before_out: usize,
    pub(crate) failed_after_out: usize,
    /// Requests answered and failed while the agent died and came back.
    pub(crate) across_the_kill: Option<(u32, usize)>,
}

/// The hooks of the node's interfaces, as the agent tells.
///
/// # Errors
/// When it does not.
pub(crate) fn hooks(lab: &Lab) -> Result<Vec<[String; 4]>> {
    let status = lab.installation.json(&["status"])?;
    let interfaces =
        status.get("interfaces").and_then(Value::as_array).context("interfaces in the status")?;
    let field =
        |interface: &Value, name: &str| interface.get(name).and_then(Value::as_str).unwrap_or("").to_owned();
    let hooks: Vec<_> = interfaces
        .iter()
        .map(|each| ["name", "role", "hook", "reason"].map(|name| field(each, name)))
        .collect();
    ensure!(!hooks.is_empty(), "the agent serves no interface: {status}");
    Ok(hooks)
}

impl Report {
    /// Prints everything.
    ///
    /// # Errors
    /// When something did not hold.
    pub(crate) fn print(&self, spec: Spec) -> Result<()> {
        heading(&format!("What was seen ({:?}, {} VMs)", spec.topology, spec.vms));
        println!("{}\n{}", self.requests(), self.interfaces());
        let (out_vm, out) = self.out.clone().context("the time to take a server out")?;
        let back = self.back.context("the time to take it back")?;
        let (answered, lost) = self.across_the_kill.context("requests across the agent's death")?;
        let rows = [
            (format!("{out_vm} out after its server died"), seconds(out), true),
            (format!("{out_vm} back after its server returned"), seconds(back), true),
            ("failed requests before it was out".to_owned(), self.failed_before_out.to_string(), true),
            (
                "failed requests after it was out".to_owned(),
                self.failed_after_out.to_string(),
                self.failed_after_out == 0,
            ),
            ("answered requests across the agent's death".to_owned(), answered.to_string(), answered > 0),
            ("failed requests across the agent's death".to_owned(), lost.to_string(), lost == 0),
        ];
        let mut table = table(["Event", "", ""]);
        for (event, value, good) in &rows {
            table.add_row([
                Cell::new(event),
                Cell::new(value).set_alignment(CellAlignment::Right),
                Cell::new(if *good { "✓" } else { "✗" }),
            ]);
        }
        println!("{table}");
        let broken: Vec<&str> = rows.iter().filter(|row| !row.2).map(|row| row.0.as_str()).collect();
        ensure!(broken.is_empty(), "this did not hold: {}", broken.join("; "));
        println!("\n{} all of it held", mark(true));
        Ok(())
    }

    fn requests(&self) -> Table {
        let mut table = table(["VM", "Address", "Requests", "Share"]);
        let total: u32 = self.spread.values().sum();
        for (vm, count) in &self.spread {
            let address = self.addresses.get(vm).map(Ipv4Addr::to_string).unwrap_or_default();
            let share = format!("{:.0} %", 100.0 * f64::from(*count) / f64::from(total.max(1)));
            let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
            table.add_row([Cell::new(vm), Cell::new(address), right(count.to_string()), right(share)]);
        }
        table
    }

    fn interfaces(&self) -> Table {
        let mut table = table(["Interface", "Role", "Hook", "Because"]);
        table.add_rows(self.hooks.iter().cloned());
        table
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
