//! Tables, JSON and YAML.

use anyhow::Context;
use clap::ValueEnum;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub(super) use crate::model::age::age;
use crate::model::meta::Condition;

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For files
    Yaml,
}

impl Format {
    /// The value in this format; `table` is asked for the text for people.
    pub(super) fn show<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce() -> anyhow::Result<String>,
    ) -> anyhow::Result<String> {
        if self == Self::Table {
            return table();
        }
        let mut value = serde_json::to_value(value).context("cannot write the answer")?;
        hide_managed_fields(&mut value);
        match self {
            Self::Table | Self::Json => {
                Ok(serde_json::to_string_pretty(&value).context("cannot write the answer as JSON")? + "\n")
            }
            Self::Yaml => serde_saphyr::to_string(&value).context("cannot write the answer as YAML"),
        }
    }

    /// One of many values: a line of JSON, or a document of YAML.
    pub(super) fn document(self, value: &Value) -> anyhow::Result<String> {
        let mut value = value.clone();
        hide_managed_fields(&mut value);
        match self {
            Self::Table | Self::Json => Ok(format!("{value}\n")),
            Self::Yaml => {
                let text = serde_saphyr::to_string(&value).context("cannot write the answer as YAML")?;
                Ok(format!("---\n{text}"))
            }
        }
    }
}

/// Takes away the record of who has set which field: nobody reads it, and it is longer than the object.
fn hide_managed_fields(answer: &mut Value) {
    if let Some(metadata) = answer.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for parts in ["items", "object", "loadBalancer", "ipPool"] {
        match answer.get_mut(parts) {
            Some(Value::Array(items)) => items.iter_mut().for_each(hide_managed_fields),
            Some(object @ Value::Object(_)) => hide_managed_fields(object),
            Some(_) | None => {}
        }
    }
}

/// A table without lines, as kubectl's.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| if cell.is_empty() { "-".to_owned() } else { cell }));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A table that grows: later rows stand in the columns of those before, as far as they fit.
#[derive(Debug)]
pub(super) struct Columns<const N: usize>([usize; N]);

impl<const N: usize> Default for Columns<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Columns<N> {
    /// The next rows; the first of all is the header.
    pub(super) fn rows(&mut self, rows: &[[String; N]]) -> String {
        let shown = |cell: &str| if cell.is_empty() { "-".to_owned() } else { cell.to_owned() };
        for row in rows {
            for (width, cell) in self.0.iter_mut().zip(row) {
                *width = (*width).max(shown(cell).chars().count());
            }
        }
        let mut text = String::new();
        for row in rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(self.0) {
                let cell = shown(cell);
                line += &cell;
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count()) + 2));
            }
            super::line(&mut text, format_args!("{}", line.trim_end()));
        }
        text
    }
}

/// The conditions of an object.
pub(super) fn conditions(all: &[Condition], now: Timestamp) -> String {
    let rows = all.iter().map(|condition| {
        let Condition { kind, status, reason, message, last_transition_time, .. } = condition.clone();
        [kind, status, reason, age(Some(&last_transition_time), now), message]
    });
    table(["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"], rows)
}

/// The text, below a heading.
pub(super) fn indented(text: &str) -> String {
    let mut indented = String::new();
    for line in text.lines() {
        super::line(&mut indented, format_args!("  {line}"));
    }
    indented
}

/// Bytes in their greatest binary unit: `1.5 MiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut whole, mut rest, mut name) = (count, 0, "B");
    for unit in UNITS {
        if whole < 1024 {
            break;
        }
        (rest, whole, name) = (whole % 1024, whole / 1024, unit);
    }
    format!("{whole}.{} {name}", rest * 10 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_of_fields_are_not_shown() {
        let object = || serde_json::json!({"metadata": {"name": "a", "managedFields": [{"manager": "lb"}]}});
        for answer in [
            object(),
            serde_json::json!({"items": [object()]}),
            serde_json::json!({"items": [{"object": object()}]}),
            serde_json::json!({"loadBalancer": object()}),
            serde_json::json!({"ipPool": object()}),
        ] {
            let text = Format::Json.show(&answer, || unreachable!()).unwrap();
            assert!(text.contains("\"a\"") && !text.contains("manager"), "{text}");
        }
    }

    #[test]
    fn bytes_use_the_greatest_unit() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16383.9 PiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn tables_have_no_lines_and_mark_empty_cells() {
        let text =
            table(["NAME", "ADDRESS"], [["web".into(), "192.0.2.1".into()], ["dns".into(), String::new()]]);
        assert_eq!(text, "NAME  ADDRESS\nweb   192.0.2.1\ndns   -\n");
    }

    #[test]
    fn a_table_that_grows_looks_like_one_that_is_whole() {
        let (header, row) = (["NAME", "ADDRESS"], |name: &str| [name.to_owned(), String::new()]);
        let mut columns = Columns::default();
        let begun = columns.rows(&[header.map(str::to_owned), row("web"), row("dns")]);
        assert_eq!(begun, table(header, [row("web"), row("dns")]));
        assert_eq!(columns.rows(&[row("a")]), "a     -\n");
        assert_eq!(columns.rows(&[row("longer")]) + &columns.rows(&[row("a")]), "longer  -\na       -\n");
    }
}
