//! The syntax of names, as Kubernetes has it: RFC 1123 and RFC 1035 labels, label keys and values.

use std::fmt;

/// The rule that a name breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub struct InvalidName(&'static str);

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The greatest length of a label, in bytes.
const LABEL: usize = 63;
/// The greatest length of a name made of several labels, in bytes.
const SUBDOMAIN: usize = 253;

/// A namespace, a VM, a listener: RFC 1123 label.
///
/// # Errors
/// The rule, if the text breaks it.
pub fn label(text: &str) -> Result<(), InvalidName> {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty()
        || text.len() > LABEL
        || !text.bytes().all(inside)
        || !has_ends(text, is_lower_or_digit)
    {
        return Err(InvalidName(
            "use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends",
        ));
    }
    Ok(())
}

/// A load balancer: RFC 1035 label, as a Service of the same name must be possible.
///
/// # Errors
/// The rule, if the text breaks it.
pub fn service(text: &str) -> Result<(), InvalidName> {
    if label(text).is_err() || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(InvalidName(
            "use 1 to 63 lower-case letters, digits and hyphens, starting with a letter and ending with a letter or digit",
        ));
    }
    Ok(())
}

/// A pool: RFC 1123 subdomain.
///
/// # Errors
/// The rule, if the text breaks it.
pub fn subdomain(text: &str) -> Result<(), InvalidName> {
    if text.len() > SUBDOMAIN || text.split('.').any(|part| label(part).is_err()) {
        return Err(InvalidName(
            "use lower-case letters, digits and hyphens, with a letter or digit at both ends, in parts separated by dots",
        ));
    }
    Ok(())
}

/// The key of a label: `[prefix/]name`.
///
/// # Errors
/// The rule, if the text breaks it.
pub fn label_key(text: &str) -> Result<(), InvalidName> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if name.is_empty() || !is_label_text(name) || prefix.is_some_and(|prefix| subdomain(prefix).is_err()) {
        return Err(InvalidName(
            "use a label key such as app or example.org/app: at most 63 letters, digits, hyphens, underscores and dots after the prefix",
        ));
    }
    Ok(())
}

/// The value of a label; it may be empty.
///
/// # Errors
/// The rule, if the text breaks it.
pub fn label_value(text: &str) -> Result<(), InvalidName> {
    if !text.is_empty() && !is_label_text(text) {
        return Err(InvalidName(
            "use at most 63 letters, digits, hyphens, underscores and dots, with a letter or digit at both ends and no blanks",
        ));
    }
    Ok(())
}

fn is_label_text(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.len() <= LABEL && text.bytes().all(inside) && has_ends(text, |b| b.is_ascii_alphanumeric())
}

fn has_ends(text: &str, allowed: fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(allowed) && text.bytes().next_back().is_some_and(allowed)
}

const fn is_lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_rfc_1123_and_rfc_1035() {
        let long = "a".repeat(63);
        let too_long = "a".repeat(64);
        for (text, is_label, is_service) in [
            ("web", true, true),
            ("web-1", true, true),
            ("1web", true, false),
            (long.as_str(), true, true),
            (too_long.as_str(), false, false),
            ("", false, false),
            ("-web", false, false),
            ("web-", false, false),
            ("Web", false, false),
            ("we_b", false, false),
            ("wéb", false, false),
        ] {
            assert_eq!(label(text).is_ok(), is_label, "{text}");
            assert_eq!(service(text).is_ok(), is_service, "{text}");
        }
    }

    #[test]
    fn label_keys_and_values_follow_kubernetes() {
        for (key, valid) in [
            ("app", true),
            ("harvesterhci.io/vmName", true),
            ("", false),
            ("/app", false),
            ("a/b/c", false),
            ("App.Name_1", true),
            ("-app", false),
        ] {
            assert_eq!(label_key(key).is_ok(), valid, "{key}");
        }
        for (value, valid) in [("", true), ("Web_1.x", true), (" b", false), ("b-", false)] {
            assert_eq!(label_value(value).is_ok(), valid, "{value}");
        }
    }

    #[test]
    fn pool_names_are_subdomains() {
        for (name, valid) in [("lab", true), ("lab.example", true), ("lab..x", false), ("", false)] {
            assert_eq!(subdomain(name).is_ok(), valid, "{name}");
        }
    }
}
