//! The agent's log as it grows: it says when a change was known.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

const DAY: f64 = 86_400.0;

/// A moment, in seconds since midnight.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Moment(f64);

impl Moment {
    pub(super) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(since.as_secs_f64() % DAY)
    }

    /// Milliseconds from an earlier moment to this one.
    pub(super) fn milliseconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0).rem_euclid(DAY) * 1000.0
    }

    /// Of a line that begins with `2026-01-31T12:34:56.123456Z`.
    fn of(line: &str) -> Option<Self> {
        let (_, time) = line.split_whitespace().next()?.strip_suffix('Z')?.split_once('T')?;
        let mut parts = time.split(':').map(str::parse::<f64>);
        let (hours, minutes, seconds) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        Some(Self((hours * 60.0 + minutes) * 60.0 + seconds))
    }
}

/// A line and when it was written.
pub(super) struct Line {
    pub(super) at: Moment,
    pub(super) text: String,
}

impl Line {
    /// The value of `name=VALUE`.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut words = self.text.split_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    pub(super) fn says(&self, text: &str) -> bool {
        self.text.contains(text)
    }
}

/// Reads what is new.
pub(super) struct Tail {
    file: File,
    rest: String,
}

impl Tail {
    /// From the beginning.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("agent.log");
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        Ok(Self { file, rest: String::new() })
    }

    /// The whole lines that have come since.
    pub(super) fn lines(&mut self) -> Result<Vec<Line>> {
        self.file.read_to_string(&mut self.rest).context("read the agent's log")?;
        let Some(end) = self.rest.rfind('\n') else { return Ok(Vec::new()) };
        let rest = self.rest.split_off(end + 1);
        let text = std::mem::replace(&mut self.rest, rest);
        let line = |text: &str| Some(Line { at: Moment::of(text)?, text: text.to_owned() });
        Ok(text.lines().filter_map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_moment_and_fields() {
        let text = "2026-01-31T23:59:59.500000Z  INFO backend is ready lb=shop/front address=192.0.2.11";
        let line = Line { at: Moment::of(text).unwrap(), text: text.to_owned() };
        assert_eq!(line.field("address"), Some("192.0.2.11"));
        assert!(line.says("backend is ready") && line.field("port").is_none());
        let after = Moment::of("2026-02-01T00:00:00.000000Z WARN").unwrap();
        assert_eq!(after.milliseconds_since(line.at), 500.0);
    }
}
