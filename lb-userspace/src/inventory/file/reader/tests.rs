//! Whatever has been read before, a text is read as `parse` reads it.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::inventory::file::parse;
use crate::model::meta::NamespacedName;

fn vm(number: usize) -> String {
    format!(
        "  - namespace: shop\n    name: vm-{number}\n    labels: {{t: g{}}}\n    interfaces:\n      - {{name: default, \
         ipAddress: 192.0.2.{number}}}\n",
        number % 3
    )
}

fn file(items: impl IntoIterator<Item = String>) -> String {
    items.into_iter().fold("virtualMachines:\n".to_owned(), |text, item| text + &item)
}

/// Reads a text, which must say what `parse` says of it.
fn read(reader: &mut Reader, text: &str) -> Result<Arc<Declared>, ParseError> {
    let read = reader.read(text);
    assert_eq!(read.as_deref(), parse(text).as_ref(), "{text}");
    read
}

/// How many items of a text are known once it is read.
fn known(text: &str) -> usize {
    let mut reader = Reader::default();
    drop(read(&mut reader, text));
    reader.known.len()
}

#[test]
fn what_is_as_it_was_is_not_parsed_again_and_shared() {
    let mut reader = Reader::default();
    let before = read(&mut reader, &file((0..9).map(vm))).unwrap();
    assert_eq!(reader.known.len(), 8, "the last one is followed by nothing that ends it");
    assert!(Arc::ptr_eq(&before, &read(&mut reader, &file((0..9).map(vm))).unwrap()));
    let altered = |number| vm(number).replace("{t: g", if number == 4 { "{t: h" } else { "{t: g" });
    let text = file((0..9).map(altered));
    let cut = Cut::new(&text);
    let digests: Vec<_> = cut.items.iter().map(|item| digest_of(item)).collect();
    assert!(reader.read_altered(&text, &cut, &digests).is_some());
    let after = read(&mut reader, &text).unwrap();
    let shared = |number: usize| {
        let key = NamespacedName::new("shop", format!("vm-{number}"));
        Arc::ptr_eq(&before.vms[&key], &after.vms[&key])
    };
    assert!((0..9).all(|number| shared(number) == (number != 4)));
}

/// A head that has changed has all read anew: what is as it was is shared all the same.
#[test]
fn a_text_that_says_the_same_shares_everything() {
    let mut reader = Reader::default();
    let before = read(&mut reader, &file((0..3).map(vm))).unwrap();
    let after = read(&mut reader, &("# a comment\n".to_owned() + &file((0..3).map(vm)))).unwrap();
    assert!(Arc::ptr_eq(&before, &after));
    assert_eq!(reader.known.len(), 2);
}

#[test]
fn what_is_out_of_the_ordinary_is_not_known() {
    for (item, expected) in [
        ("  - {namespace: shop, name: a}\n", 2),
        ("  # a comment\n  -   # another\n    {namespace: shop, name: a}\n\n# the third\n", 2),
        ("  - namespace: shop\n    name: >-\n      a\n", 2),
        ("  - &a {namespace: shop, name: a}\n", 1),
        ("  - {namespace: shop, name: a, labels: {<<: {b: c}}}\n", 1),
        ("  - {namespace: shop,\tname: a}\n", 1),
        ("  - {namespace: shop, name: a,\n  labels: {}}\n", 1),
        ("  - {namespace: shop, name: a}\r\n", 1),
        ("  - {namespace: shop, name: a, labels: {b: \"\n  - c\"}}\n", 0),
    ] {
        assert_eq!(known(&file([item.to_owned(), vm(1), vm(2)])), expected, "{item}");
    }
    assert_eq!(known("virtualMachines: [{namespace: shop, name: a}]\n"), 0);
}

#[test]
fn a_slip_of_the_pen_forgets_nothing() {
    let mut reader = Reader::default();
    let before = read(&mut reader, &file((0..3).map(vm))).unwrap();
    assert!(read(&mut reader, &file([vm(0), vm(0), vm(2)])).is_err());
    assert!(read(&mut reader, "virtualMachines: [").is_err());
    assert_eq!(reader.known.len(), 2);
    assert!(Arc::ptr_eq(&before, &read(&mut reader, &file((0..3).map(vm))).unwrap()));
}

/// Pieces of texts, of which many run into the next, end it early, or look like another.
const PIECES: [&str; 44] = [
    "  - namespace: shop\n    name: a\n",
    "  - {namespace: shop, name: b}\n",
    "  - {namespace: shop, name: c, labels: {k: v}}\n",
    "  - {namespace: shop, name: d, running: false}",
    "  -\n    namespace: shop\n    name: e\n",
    "  - # a comment\n    {namespace: shop, name: f}\n",
    "  - &anchor {namespace: shop, name: g}\n",
    "  - {namespace: shop, name: h, labels: &labels {k: v}}\n",
    "  - {namespace: shop, name: i, labels: *labels}\n",
    "  - *anchor\n",
    "  - <<: {namespace: shop}\n    name: j\n",
    "  - namespace: shop\n    name: k\n    labels:\n      k: |\n        - namespace: shop\n",
    "  - namespace: shop\n    name: l\n    labels:\n      k: |+\n\n\n",
    "  - namespace: shop\n    name: m\n    labels:\n      k: >2\n",
    "  - namespace: shop\n    name: n\n    labels: {k: \"\n",
    "  - namespace: shop\n    name: o\n    labels: {k: '\n",
    "  - namespace: shop\n    name: p\n    labels: {k: v,\n",
    "  - namespace: shop\n    name: q\n    labels: {k: v",
    "  - namespace: shop\n    name: r\n    labels:\n",
    "  - namespace: shop\n    name: s\n    interfaces:\n",
    "  - namespace: shop\n    name:\n",
    "  - {namespace: shop, name: A}\n",
    "    - {namespace: shop, name: t}\n",
    "- {namespace: shop, name: u}\n",
    " - {namespace: shop, name: v}\n",
    "    name: w\n",
    "    labels: {x: y}\n",
    "      - {name: default, ipAddress: 192.0.2.1}\n",
    "        - {name: default}\n",
    "      k: v\n",
    "      two words\n",
    "\"}\n",
    "'}\n",
    "}\n",
    "    }\n",
    "# a comment: \"\n",
    "      # deeper\n",
    "\n",
    "   \n",
    "\t\n",
    "---\n",
    "...\n",
    "other: x\n",
    "  - {namespace: shop, name: x}\r  - {namespace: shop, name: y}\r\n",
];

const HEADS: [&str; 12] = [
    "virtualMachines:\n",
    "virtualMachines:\n",
    "virtualMachines:\n",
    "virtualMachines:\n",
    "# a comment\n---\nvirtualMachines: # of this node\n",
    "virtualMachines: &all\n",
    "virtualMachines: [\n",
    "virtualMachines: |\n",
    "virtualMachines: \"\n",
    "virtualMachines: {\n",
    "? virtualMachines\n:\n",
    "",
];

/// Texts of pieces, each a few edits from the one before.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let edit = (0_usize..4, 0_usize..12, select(&PIECES[..]), select(&HEADS[..]));
    let ordinary = proptest::collection::vec(select(&PIECES[..6]), 0..6);
    let edits = proptest::collection::vec(proptest::collection::vec(edit, 0..3), 1..8);
    (select(&HEADS[..]), ordinary, edits).prop_map(|(mut head, mut pieces, steps)| {
        let step = |edits: Vec<(usize, usize, &'static str, &'static str)>| {
            for (kind, at, piece, other) in edits {
                let at = at % (pieces.len() + 1);
                match kind {
                    0 | 1 => pieces.insert(at, piece),
                    2 if at < pieces.len() => drop(pieces.remove(at)),
                    2 => head = other,
                    _ => pieces.rotate_left(at),
                }
            }
            head.to_owned() + &pieces.concat()
        };
        steps.into_iter().map(step).collect()
    })
}

proptest! {
    #[test]
    fn a_text_is_read_as_if_none_had_been_read_before(texts in texts()) {
        let mut reader = Reader::default();
        for text in texts {
            let (read, expected) = (reader.read(&text), parse(&text));
            prop_assert_eq!(read.as_deref(), expected.as_ref(), "{}", text);
        }
    }
}
