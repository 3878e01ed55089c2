//! Patterns of interface names: `vnet*`, `tap?`.

use std::fmt;

/// The greatest length of an interface name (`IFNAMSIZ` without its NUL).
const MAX_NAME: usize = 15;

/// A name in which `*` stands for any characters and `?` for one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct InterfacePattern(String);

/// A text that matches no interface.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not an interface name; write 1 to 15 characters without '/', ':' and blanks")]
pub struct ParseInterfacePattern(String);

impl InterfacePattern {
    /// Checks the text.
    ///
    /// # Errors
    /// When no interface can have such a name.
    pub fn new_checked(text: &str) -> Result<Self, ParseInterfacePattern> {
        let fixed = text.chars().filter(|&c| c != '*').count();
        let legal = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
        if text.is_empty() || fixed > MAX_NAME || !text.chars().all(legal) || text == "." || text == ".." {
            return Err(ParseInterfacePattern(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether the interface's name fits.
    pub fn matches(&self, name: &str) -> bool {
        fits(self.0.as_bytes(), name.as_bytes())
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            (0..=name.len()).any(|skip| name.get(skip..).is_some_and(|n| fits(rest, n)))
        }
        (Some((b'?', pattern)), Some((_, name))) => fits(pattern, name),
        (Some((p, pattern)), Some((n, name))) => p == n && fits(pattern, name),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match() {
        for (pattern, name, expected) in [
            ("vnet*", "vnet12", true),
            ("vnet*", "vnet", true),
            ("vnet*", "xvnet1", false),
            ("tap?", "tap1", true),
            ("tap?", "tap", false),
            ("*-vm", "a-vm-b-vm", true),
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
        ] {
            let matches = InterfacePattern::new_checked(pattern).is_ok_and(|p| p.matches(name));
            assert_eq!(matches, expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_can_be_no_interface_is_refused() {
        for text in ["", "a b", "a/b", "..", "sixteencharacter", "a:1"] {
            assert!(InterfacePattern::new_checked(text).is_err(), "{text}");
        }
    }
}
