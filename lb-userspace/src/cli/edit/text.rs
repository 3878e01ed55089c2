//! The text that is edited: an object as YAML under notes, which are comments of their own kind.

use serde_json::{Value, json};

use crate::cli::diff::without_state;
use crate::cli::kind::Kind;
use crate::model::parse::{self, Manifest};

/// Begins each line of a note.
const MARK: &str = "#:";

/// The text under notes.
pub(super) fn with_notes(notes: &str, text: &str) -> String {
    let notes: String =
        notes.lines().map(|line| format!("{MARK} {line}").trim_end().to_owned() + "\n").collect();
    format!("{notes}{text}")
}

/// The text after the notes at its beginning.
pub(super) fn without_notes(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with(MARK) {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
}

/// The object of a text, which must go on being the one that is there. Lines are counted without the notes.
pub(super) fn understand(text: &str, kind: Kind, live: &Value) -> Result<Value, String> {
    let told = |error: parse::ParseError| format!("below these notes, {error}");
    let Some(header) = parse::header(text).map_err(told)? else {
        return Err("there is no object in it".to_owned());
    };
    let object = match parse::manifest(text, &header).map_err(told)? {
        Manifest::LoadBalancer(object) => json!(object),
        Manifest::IpPool(object) => json!(object),
    };
    if header.kind != kind.name() {
        return Err(format!("kind: {} can't become {}", kind.name(), header.kind));
    }
    for (field, pointer) in
        [("metadata.name", "/metadata/name"), ("metadata.namespace", "/metadata/namespace")]
    {
        let text =
            |object: &Value| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (old, new) = (text(live), text(&object));
        if old != new {
            return Err(format!("{field}: {old:?} can't become {new:?}; `lb create` makes another object"));
        }
    }
    Ok(without_state(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POOL: &str =
        "# mine\napiVersion: loadbalancer.harvesterhci.io/v1beta1\nkind: IPPool\nmetadata: {name: lab}\n";

    #[test]
    fn notes_come_and_go_and_comments_stay() {
        let once = with_notes("first\n\nlast", POOL);
        assert!(once.starts_with("#: first\n#:\n#: last\n# mine\n"), "{once}");
        assert_eq!(without_notes(&once), POOL);
        assert_eq!(without_notes("#: only"), "");
    }

    #[test]
    fn an_object_stays_the_one_that_it_is() {
        let live = json!({"metadata": {"name": "lab"}});
        assert!(understand(POOL, Kind::IpPool, &live).is_ok());
        for (text, expected) in [
            (POOL.replace("lab", "bal"), "metadata.name: \"lab\" can't become \"bal\""),
            (POOL.replace("IPPool", "LoadBalancer"), "kind: IPPool can't become LoadBalancer"),
            (POOL.replace("metadata:", "mitadata:"), "below these notes, line 4, column 1: mitadata"),
            ("# nothing\n".to_owned(), "there is no object"),
        ] {
            let error = understand(&text, Kind::IpPool, &live).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
