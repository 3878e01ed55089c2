//! Numbers for people.

/// A unit's size, and the names of its multiples.
pub(super) type Units = (f64, [&'static str; 5]);
/// Packets and flows.
pub(super) const NUMBERS: Units = (1000.0, ["", "k", "M", "G", "T"]);
/// Bytes.
pub(super) const BYTES: Units = (1024.0, [" B", " KiB", " MiB", " GiB", " TiB"]);

/// `0`, `0.5`, `120`, `12.3k`: with a digit after the point where the number is small or cut off.
pub(super) fn amount(value: f64, (size, names): Units) -> String {
    let (mut value, mut name) = (value, "");
    for (index, unit) in names.into_iter().enumerate() {
        if index > 0 {
            value /= size;
        }
        name = unit;
        if value < size {
            break;
        }
    }
    let is_whole = value == 0.0 || (name == names[0] && value >= 10.0);
    if is_whole { format!("{value:.0}{name}") } else { format!("{value:.1}{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_use_the_greatest_unit() {
        for (value, units, expected) in [
            (0.0, NUMBERS, "0"),
            (0.5, NUMBERS, "0.5"),
            (120.4, NUMBERS, "120"),
            (12_345.0, NUMBERS, "12.3k"),
            (0.0, BYTES, "0 B"),
            (1023.0, BYTES, "1023 B"),
            (1536.0, BYTES, "1.5 KiB"),
            (1e18, NUMBERS, "1000000.0T"),
        ] {
            assert_eq!(amount(value, units), expected);
        }
    }
}
