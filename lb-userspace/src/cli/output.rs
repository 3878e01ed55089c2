//! Tables, JSON and YAML.

use anyhow::Context;
use clap::ValueEnum;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;

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
        match self {
            Self::Table => table(),
            Self::Json => {
                Ok(serde_json::to_string_pretty(value).context("cannot write the answer as JSON")? + "\n")
            }
            Self::Yaml => serde_saphyr::to_string(value).context("cannot write the answer as YAML"),
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

/// The time since an RFC 3339 moment in its greatest unit: `5s`, `12m`, `3h`, `4d`. Empty if it is no moment.
pub(super) fn age(since: Option<&str>, now: Timestamp) -> String {
    let Some(since) = since.and_then(|text| text.parse::<Timestamp>().ok()) else { return String::new() };
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
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
    fn ages_use_the_greatest_unit() {
        let now: Timestamp = "2026-01-03T00:00:00Z".parse().unwrap();
        for (since, expected) in [
            ("2026-01-03T00:00:00Z", "0s"),
            ("2026-01-02T23:58:01Z", "119s"),
            ("2026-01-02T23:30:00Z", "30m"),
            ("2026-01-02T20:00:00Z", "4h"),
            ("2025-12-30T00:00:00Z", "4d"),
            ("2026-01-04T00:00:00Z", "0s"),
            ("yesterday", ""),
        ] {
            assert_eq!(age(Some(since), now), expected, "{since}");
        }
        assert_eq!(age(None, now), "");
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
}
