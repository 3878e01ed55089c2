//! Reading an inventory file over and over: what is as it was is not parsed again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use super::cut::Cut;
use super::parse::{self, Declared, Item, Placed};
use crate::model::parse::{MAX_NODES, ParseError};

/// A text of this length is never too much for the parser as a whole: a byte makes fewer than two scalars, lists or maps.
const MAX_LENGTH: usize = MAX_NODES / 2;

/// Reads one text after another, each as [`parse::parse`] does.
///
/// Behind the same head, a YAML parser comes to each item of the list in the same state. So an item means what its
/// text means, if neither it nor another refers to anything beyond itself; the text of one that has been read between
/// the same head and another item is known, if that one hides no item for this to run past. The others, and the last
/// one, which the end of the file follows, are read as a file of their own. Where one runs into the next there, they are
/// not as many, or not where they were cut. Whatever is out of the ordinary is read as a whole, which finds all that is
/// wrong.
#[derive(Default, Debug)]
pub(super) struct Reader {
    keys: [RandomState; 2],
    head: String,
    /// Of the last good text's items.
    digests: Vec<Digest>,
    known: HashMap<Digest, Item>,
    declared: Arc<Declared>,
}

/// By secret keys, so that nobody can choose two texts that have the same.
type Digest = [u64; 2];

impl Reader {
    /// What a text says. VMs that are as they were are shared with the last good text.
    pub(super) fn read(&mut self, text: &str) -> Result<Arc<Declared>, ParseError> {
        let cut = Cut::new(text);
        let digests = self.digests(&cut);
        if !digests.is_empty() && (cut.head, &digests) == (self.head.as_str(), &self.digests) {
            return Ok(Arc::clone(&self.declared));
        }
        let altered = self.read_altered(text, &cut, &digests);
        let (declared, items) = match altered.and_then(|items| parse::declare(&items).ok().zip(Some(items))) {
            Some(read) => read,
            None => self.read_whole(text, &cut)?,
        };
        let is_plain =
            |(digest, text): (&Digest, &&str)| self.known.contains_key(digest) || cut.is_plain(text);
        let plain: Vec<bool> = digests.iter().zip(&cut.items).map(is_plain).collect();
        let are_known = plain.windows(2).map(|pair| pair == [true, true]);
        let read = digests.iter().copied().zip(items).zip(are_known);
        self.known = read.filter(|(_, is_known)| *is_known).map(|(read, _)| read).collect();
        cut.head.clone_into(&mut self.head);
        self.digests = digests;
        if *self.declared != declared {
            self.declared = Arc::new(declared);
        }
        Ok(Arc::clone(&self.declared))
    }

    fn digests(&self, cut: &Cut<'_>) -> Vec<Digest> {
        let digest = |item: &&str| self.keys.each_ref().map(|key| key.hash_one(item));
        cut.items.iter().map(digest).collect()
    }

    /// All items, where those that are not known can be read by themselves.
    fn read_altered(&self, text: &str, cut: &Cut<'_>, digests: &[Digest]) -> Option<Vec<Item>> {
        if self.known.is_empty() || self.head != cut.head || text.len() > MAX_LENGTH {
            return None;
        }
        let last = cut.items.len().checked_sub(1)?;
        let known = |(index, digest)| self.known.get(digest).filter(|_| index != last);
        let known: Vec<Option<&Item>> = digests.iter().enumerate().map(known).collect();
        let unknown = cut.items.iter().zip(&known).filter(|(_, known)| known.is_none());
        let altered: Vec<&str> = unknown.map(|(text, _)| *text).collect();
        if !altered.iter().all(|item| cut.is_plain(item)) {
            return None;
        }
        let read = self.parse(&[&[cut.head], &*altered].concat().concat()).ok()?;
        if !are_where_cut(&read, cut, &altered) {
            return None;
        }
        let mut read = read.into_iter().map(|placed| placed.item);
        known.into_iter().map(|known| known.cloned().or_else(|| read.next())).collect()
    }

    /// What the parser says, and the items, if they are where they were cut.
    fn read_whole(&self, text: &str, cut: &Cut<'_>) -> Result<(Declared, Vec<Item>), ParseError> {
        let read = self.parse(text)?;
        let declared = parse::declare_placed(&read)?;
        // The parser begins a line behind a carriage return, too.
        let are_cut = !text.contains('\r') && are_where_cut(&read, cut, &cut.items);
        let items = if are_cut { read.into_iter().map(|placed| placed.item).collect() } else { Vec::new() };
        Ok((declared, items))
    }

    fn parse(&self, text: &str) -> Result<Vec<Placed>, ParseError> {
        let mut read = parse::items(text)?;
        for Placed { item, .. } in &mut read {
            if let Some(before) = self.declared.vms.get(&item.vm.key()).filter(|before| **before == item.vm) {
                item.vm = Arc::clone(before);
            }
        }
        Ok(read)
    }
}

fn are_where_cut(read: &[Placed], cut: &Cut<'_>, texts: &[&str]) -> bool {
    let mut places = read.iter().zip(cut.lines(texts));
    read.len() == texts.len() && places.all(|(placed, lines)| lines.contains(&placed.line))
}

/// Texts in turn, for [`crate::fuzz`].
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz<'a>(texts: impl Iterator<Item = &'a str>) {
    let mut reader = Reader::default();
    for text in texts {
        let (read, expected) = (reader.read(text), parse::parse(text));
        assert_eq!(read.as_deref(), expected.as_ref(), "{text}");
    }
}

#[cfg(test)]
mod tests;
