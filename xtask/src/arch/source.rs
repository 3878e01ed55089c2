//! A source file, reduced to the paths that its code names. No parser: the house style (rustfmt, tests last)
//! makes lines enough.

/// A file's code without comments, strings and tests.
pub(super) struct Source {
    /// Relative to the workspace's root.
    pub(super) path: String,
    /// All its lines.
    pub(super) length: usize,
    /// Line number and code.
    code: Vec<(usize, String)>,
    /// Line number and full path of each import.
    imports: Vec<(usize, String)>,
}

impl Source {
    pub(super) fn parse(path: String, text: &str) -> Self {
        let mut code = Vec::new();
        // Compiled for tests only, as what follows `#[cfg(test)]` elsewhere.
        let is_test = path.ends_with("/tests.rs") || (path.contains("/src/") && path.contains("/tests/"));
        let text_of_code = if is_test { "" } else { text };
        for (index, line) in text_of_code.lines().enumerate() {
            if line.trim() == "#[cfg(test)]" {
                break;
            }
            code.push((index + 1, strip(line)));
        }
        let imports = imports(&code);
        Self { path, length: text.lines().count(), code, imports }
    }

    /// Where the code names one of `words`, each of which is a path or its beginning.
    pub(super) fn mentions(&self, words: &'static [&'static str]) -> Vec<(usize, &'static str)> {
        let mut found: Vec<(usize, &'static str)> = Vec::new();
        for &word in words {
            let imported = self.imports.iter().filter(|(_, import)| begins(import, word));
            let written = self.code.iter().filter(|(_, line)| !is_import(line) && contains_path(line, word));
            found.extend(imported.map(|(line, _)| (*line, word)));
            found.extend(written.map(|(line, _)| (*line, word)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The first segment after `crate::` wherever it occurs.
    pub(super) fn imported_features(&self) -> Vec<(usize, String)> {
        let segment = |path: &str| {
            let rest = path.strip_prefix("crate::")?;
            Some(rest.split(|c: char| !is_word(c)).next().unwrap_or_default().to_owned())
        };
        let mut found: Vec<(usize, String)> =
            self.imports.iter().filter_map(|(line, import)| Some((*line, segment(import)?))).collect();
        for (line, code) in self.code.iter().filter(|(_, code)| !is_import(code)) {
            let places = code.match_indices("crate::");
            found.extend(places.filter_map(|(at, _)| Some((*line, segment(code.get(at..)?)?))));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The line without its comment and without what is between quotes.
fn strip(line: &str) -> String {
    let mut kept = String::new();
    let mut quoted = false;
    let mut previous = ' ';
    for character in line.chars() {
        if quoted {
            quoted = character != '"' || previous == '\\';
        } else if character == '"' && previous != '\'' {
            quoted = true;
        } else if character == '/' && previous == '/' {
            kept.pop();
            break;
        } else {
            kept.push(character);
        }
        previous = if previous == '\\' { ' ' } else { character };
    }
    kept
}

fn is_import(line: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("pub ").unwrap_or(line);
    line.starts_with("use ") || line.starts_with("pub(") && line.contains(") use ")
}

/// Every `use` statement, its braces expanded.
fn imports(code: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut lines = code.iter();
    while let Some((line, text)) = lines.next() {
        if !is_import(text) {
            continue;
        }
        let mut statement = text.clone();
        while !statement.contains(';') {
            let Some((_, more)) = lines.next() else { break };
            statement.push_str(more);
        }
        let tree = statement.split_once("use ").map_or("", |(_, tree)| tree).trim_end_matches(';');
        expand("", tree, &mut |path| found.push((*line, path)));
    }
    found
}

/// Calls `found` with each path of a `use` tree.
fn expand(prefix: &str, tree: &str, found: &mut impl FnMut(String)) {
    let mut depth = 0_usize;
    let mut branch = String::new();
    for character in tree.chars().chain([',']) {
        match character {
            ',' if depth == 0 => {
                let text = branch.trim();
                if let Some((head, rest)) = text.split_once('{') {
                    let inner = rest.strip_suffix('}').unwrap_or(rest);
                    expand(&format!("{prefix}{head}"), inner, found);
                } else if !text.is_empty() {
                    let name = text.split(" as ").next().unwrap_or(text);
                    found(format!("{prefix}{name}"));
                }
                branch.clear();
                continue;
            }
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        branch.push(character);
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Whether a path is `word` or something inside it.
fn begins(path: &str, word: &str) -> bool {
    path.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether code writes the path `word`, or `word` followed by `::` if it is a crate's name.
fn contains_path(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).unwrap_or_default();
        let starts = before.is_none_or(|c| !is_word(c) && c != ':');
        let ends = if word.contains("::") {
            after.chars().next().is_none_or(|c| !is_word(c))
        } else {
            after.starts_with("::")
        };
        starts && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_imports_are_expanded() {
        let source = Source::parse(
            "x.rs".to_owned(),
            "use std::{\n    fs::{self, File},\n    net::TcpStream as Stream,\n};\npub(crate) use a::b;\n",
        );
        let paths: Vec<&str> = source.imports.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(paths, ["std::fs::self", "std::fs::File", "std::net::TcpStream", "a::b"]);
    }

    #[test]
    fn a_longer_name_is_another_name() {
        assert!(contains_path("let x = aya::Ebpf;", "aya"));
        assert!(!contains_path("let x = papaya::Map;", "aya"));
        assert!(!contains_path("let x = aya_obj::Map;", "aya"));
        assert!(!contains_path("let x = net::aya::Map;", "aya"));
    }
}
