//! An inventory file cut into its VMs, without understanding them.

use std::ops::Range;

/// A text, cut before each line that begins as the list's first item does: spaces, then a dash.
#[derive(Clone, Default, Debug)]
pub(super) struct Cut<'a> {
    /// What stands before the items.
    pub(super) head: &'a str,
    pub(super) items: Vec<&'a str>,
    /// Spaces before each item's dash.
    indent: usize,
}

impl<'a> Cut<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut indent = None;
        let mut starts = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let content = line.trim_start_matches(' ');
            let spaces = line.len() - content.len();
            if is_item(content) && *indent.get_or_insert(spaces) == spaces {
                starts.push(at);
            }
            at += line.len();
        }
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        let items = starts.iter().zip(ends).filter_map(|(start, end)| text.get(*start..end)).collect();
        let head = text.get(..starts.first().copied().unwrap_or(text.len())).unwrap_or_default();
        Self { head, items, indent: indent.unwrap_or_default() }
    }

    /// Whether an item has no power over others: it names nothing for others to refer to, refers to nothing itself, and
    /// each of its lines is deeper than the list, so that it ends where the next one begins.
    pub(super) fn is_plain(&self, item: &str) -> bool {
        let is_deeper = |line: &str| {
            let content = line.trim_start_matches(' ');
            line.len() - content.len() > self.indent || content.is_empty() || content.starts_with('#')
        };
        item.chars().all(is_plain) && item.lines().skip(1).all(is_deeper)
    }

    /// The lines of each of these items in a text of the head and them alone, from 1.
    pub(super) fn lines(&self, items: &[&str]) -> impl Iterator<Item = Range<u64>> {
        let count = |text: &str| text.lines().map(|_| 1).sum::<u64>();
        items.iter().scan(1 + count(self.head), move |end, item| {
            let start = *end;
            *end += count(item);
            Some(start..*end)
        })
    }
}

/// Whether a line without its indentation is an item of a list.
fn is_item(content: &str) -> bool {
    content.strip_prefix('-').is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\n']))
}

/// No anchor, alias or merge, no tab, nothing that breaks a line elsewhere than the cut does.
fn is_plain(char: char) -> bool {
    char == '\n' || !(char.is_control() || matches!(char, '&' | '*' | '<' | '\u{feff}'))
}
