//! How old something is, for people.

use jiff::Timestamp;

/// The time since an RFC 3339 moment in its greatest unit: `5s`, `12m`, `3h`, `4d`. Empty if it is no moment.
pub fn age(since: Option<&str>, now: Timestamp) -> String {
    let Some(since) = since.and_then(|text| text.parse::<Timestamp>().ok()) else { return String::new() };
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
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
}
