//! `lb flows`.

use anyhow::Context;
use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::output::{self, Format};
use crate::control::flows::{DEFAULT_LIMIT, FlowRow, RawQuery, Summary};

/// Rows that are laid out together: their columns are aligned, and the first of them are on the screen while
/// others are still on their way.
const BLOCK: usize = 1000;

#[derive(Args, Debug)]
#[command(after_help = "Addresses are written 192.0.2.1, 192.0.2.1:80 or 192.0.2.0/24.

Examples:
  lb flows --vip 203.0.113.80
  lb flows --vm web-1 --state established
  lb flows --client 198.51.100.0/24 --protocol udp -o json")]
pub(super) struct Arguments {
    /// Flows to this VIP
    #[arg(long, value_name = "ADDRESS")]
    vip: Option<String>,
    /// Flows of this client
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Flows served at this server address
    #[arg(long, value_name = "ADDRESS")]
    backend: Option<String>,
    /// Flows served by this VM
    #[arg(long, value_name = "NAME")]
    vm: Option<String>,
    /// Flows of this load balancer
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    lb: Option<String>,
    /// opening, established, finished or closing
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// tcp or udp
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// How many to show; 0 shows all
    #[arg(long, default_value_t = DEFAULT_LIMIT, value_name = "COUNT")]
    limit: usize,
}

pub(super) async fn run(client: &Client, arguments: &Arguments, format: Format) -> anyhow::Result<()> {
    let mut writer = Writer { format, rows: Vec::new(), written: 0 };
    let mut summary = Summary::default();
    super::print(if format == Format::Json { "[" } else { "" })?;
    let visit = |line: Value| -> anyhow::Result<()> {
        match line.get("summary") {
            Some(last) => summary = serde_json::from_value(last.clone()).context("cannot read the answer")?,
            None => writer.add(serde_json::from_value(line).context("cannot read the answer")?)?,
        }
        Ok(())
    };
    client.lines(&path(arguments)?, visit).await?;
    writer.flush()?;
    super::print(match format {
        Format::Json => "\n]\n",
        Format::Yaml if summary.shown == 0 => "[]\n",
        Format::Yaml | Format::Table => "",
    })?;
    // Not among the rows, which a program may read.
    if let Some(note) = note(summary) {
        eprintln!("{note}");
    }
    Ok(())
}

fn path(arguments: &Arguments) -> anyhow::Result<String> {
    let Arguments { vip, client, backend, vm, lb, state, protocol, limit } = arguments;
    let query = RawQuery {
        vip: vip.clone(),
        client: client.clone(),
        backend: backend.clone(),
        vm: vm.clone(),
        lb: lb.clone(),
        state: state.clone(),
        protocol: protocol.clone(),
        limit: Some(*limit),
    };
    let Value::Object(fields) = serde_json::to_value(query).context("cannot write the query")? else {
        return Ok("/lb/v1/flows".to_owned());
    };
    let parameters = fields.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), escaped);
        format!("{name}={text}")
    });
    Ok(format!("/lb/v1/flows?{}", parameters.collect::<Vec<_>>().join("&")))
}

/// As it may stand in a query (RFC 3986).
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte.into()),
            _ => {
                use std::fmt::Write;
                // Writing to a string can't fail.
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
    }
    escaped
}

/// What the rows don't tell.
fn note(summary: Summary) -> Option<String> {
    match summary {
        Summary { matched: 0, live, .. } => Some(format!("No flows found among {live}.")),
        Summary { shown, matched, .. } if shown < matched => {
            Some(format!("{shown} of {matched} flows shown; narrow the search, or show all with --limit 0."))
        }
        Summary { .. } => None,
    }
}

/// Writes rows as they come.
struct Writer {
    format: Format,
    rows: Vec<FlowRow>,
    written: usize,
}

impl Writer {
    fn add(&mut self, row: FlowRow) -> anyhow::Result<()> {
        self.rows.push(row);
        if self.rows.len() == BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let is_first = self.written == 0;
        self.written += rows.len();
        super::print(&block(&rows, self.format, is_first)?)
    }
}

fn block(rows: &[FlowRow], format: Format, is_first: bool) -> anyhow::Result<String> {
    match format {
        Format::Table => {
            let text = table(rows);
            let body = if is_first { 0 } else { text.find('\n').map_or(0, |end| end + 1) };
            Ok(text.split_at(body).1.to_owned())
        }
        Format::Yaml => serde_saphyr::to_string(&rows).context("cannot write the answer as YAML"),
        Format::Json => {
            let mut text = String::new();
            for (index, row) in rows.iter().enumerate() {
                text += if is_first && index == 0 { "\n  " } else { ",\n  " };
                text += &serde_json::to_string(row).context("cannot write the answer as JSON")?;
            }
            Ok(text)
        }
    }
}

fn table(rows: &[FlowRow]) -> String {
    let rows = rows.iter().map(|row| {
        let FlowRow { protocol, client, vip, server, source, vm, load_balancer, state, .. } = row.clone();
        let server = if source.is_empty() { server } else { format!("{server} (from {source})") };
        let state = if row.overflowed { format!("{state}, overflowed") } else { state };
        [protocol, client, vip, server, vm, load_balancer, state, format!("{}s", row.idle_seconds)]
    });
    output::table(["PROTOCOL", "CLIENT", "VIP", "SERVER", "VM", "LOAD BALANCER", "STATE", "IDLE"], rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<FlowRow> {
        let row = FlowRow {
            protocol: "TCP".into(),
            client: "198.51.100.8:40000".into(),
            vip: "203.0.113.1:80".into(),
            server: "192.0.2.11:8080".into(),
            vm: "web-1".into(),
            load_balancer: "shop/web".into(),
            state: "Established".into(),
            idle_seconds: 4,
            ..FlowRow::default()
        };
        let masqueraded = FlowRow { source: "203.0.113.1:51000".into(), overflowed: true, ..row.clone() };
        vec![row, masqueraded]
    }

    #[test]
    fn blocks_of_rows_make_one_table_one_list_and_one_array() {
        let both = |format| {
            let first = block(&rows()[..1], format, true).unwrap();
            first + &block(&rows()[1..], format, false).unwrap()
        };
        insta::assert_snapshot!("table", both(Format::Table));
        let json: Value = serde_json::from_str(&format!("[{}]", both(Format::Json))).unwrap();
        assert_eq!(serde_json::from_value::<Vec<FlowRow>>(json).unwrap(), rows());
        assert_eq!(serde_saphyr::from_str::<Vec<FlowRow>>(&both(Format::Yaml)).unwrap(), rows());
    }

    #[test]
    fn what_is_left_out_is_said() {
        assert_eq!(note(Summary { shown: 2, matched: 2, live: 3 }), None);
        let text = note(Summary { shown: 2, matched: 5, live: 9 }).unwrap();
        assert!(text.starts_with("2 of 5 flows shown"), "{text}");
        assert_eq!(note(Summary { live: 9, ..Summary::default() }).unwrap(), "No flows found among 9.");
    }

    #[test]
    fn a_query_is_escaped() {
        assert_eq!(escaped("[2001:db8::1]:80/64 a&b"), "%5B2001%3Adb8%3A%3A1%5D%3A80%2F64%20a%26b");
    }
}
