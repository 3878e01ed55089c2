//! Durations as people write them: `500ms`, `60s`, `5m`, `2h`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a duration; write a whole number and a unit: 500ms, 60s, 5m, 2h")]
pub struct ParseDuration(String);

/// Parses a whole number and its unit.
///
/// # Errors
/// When the number or the unit is missing, unknown or too great.
pub fn parse(text: &str) -> Result<Duration, ParseDuration> {
    let wrong = || ParseDuration(text.to_owned());
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().ok().ok_or_else(wrong)?;
    let seconds = match unit {
        "ms" => return Ok(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_understood() {
        for (text, millis) in [("500ms", 500), ("60s", 60_000), ("5m", 300_000), ("2h", 7_200_000), ("0s", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "60", "s", "1.5s", "-1s", "60 s", "1d", "18446744073709551615h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
