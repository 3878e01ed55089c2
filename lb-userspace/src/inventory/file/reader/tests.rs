//! Whatever has been read before, a text is read as `parse` reads it.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

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
    assert!(reader.read_altered(&text, &cut, &reader.digests(&cut)).is_some());
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
        ("  - {namespace: shop, name: a}\r\n", 0),
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

/// What closes a quote may go on with an item that is not cut off: they are as many as were cut, and where they were.
#[test]
fn an_item_that_runs_into_one_that_hides_another_is_not_known() {
    let item = |name: &str| format!("  - {{namespace: shop, name: {name}}}\n");
    let open = || "  - {namespace: shop, name: a, labels: {k: \"\n".to_owned();
    for hidden in
        ["  - \"}}\n  -\t{namespace: shop, name: c}\n", "  - \"}}\r  - {namespace: shop, name: c}\n\n"]
    {
        let mut reader = Reader::default();
        read(&mut reader, &file(["b", "c", "d"].map(item))).unwrap();
        read(&mut reader, &file([open(), item("b"), hidden.to_owned()])).unwrap();
        let mut reader = Reader::default();
        read(&mut reader, &file([open(), hidden.to_owned()])).unwrap();
        assert!(read(&mut reader, &file([open(), item("c")])).is_err());
    }
}

/// The parser counted one more line, so the item that was hidden stood where the next one was cut.
#[test]
fn an_item_behind_a_carriage_return_is_not_known() {
    let items = |names: [&str; 2]| names.map(|name| format!("  - {{namespace: shop, name: {name}}}\n"));
    let [open, close] = [
        "  - {namespace: shop, name: a}\r  - {namespace: shop, name: b, labels: {k: \"\n".to_owned(),
        "  - \"}}\n".to_owned(),
    ];
    let [c, d] = items(["c", "d"]);
    let mut reader = Reader::default();
    read(&mut reader, &file([open, close.clone(), c.clone(), d.clone()])).unwrap();
    let [x, _] = items(["x", "y"]);
    assert!(read(&mut reader, &file([x, close, c, d])).is_err());
}

/// Items that mean the same wherever they stand. The last two are one VM.
const ORDINARY: [&str; 10] = [
    "  - namespace: shop\n    name: a\n",
    "  - {namespace: shop, name: b}\n",
    "  - {namespace: shop, name: c, labels: {k: v}}\n",
    "  -\n    namespace: shop\n    name: d\n",
    "  - # a comment\n    {namespace: shop, name: e}\n\n# another: \"\n",
    "  - namespace: shop\n    name: f\n    labels:\n      k: |\n        - namespace: shop\n",
    "  - namespace: shop\n    name: g\n    labels:\n      k: |+\n        v\n\n\n",
    "  - namespace: shop\n    name: h\n    labels: {k: \"\n      v\"}\n",
    "  - {namespace: shop, name: i}\n",
    "  - {namespace: shop, name: i, labels: {k: v}}\n",
];

/// Pieces that run into the next, end it early, or look like another; together, those that act on one another, which come first.
const HOSTILE: [&[&str]; 45] = [
    &["  - &m {namespace: shop, name: m}\n", "  - {namespace: shop, <<: *m, name: n}\n"],
    &["  - {namespace: shop, name: m, labels: &l {k: v}}\n", "  - {namespace: shop, name: n, labels: *l}\n"],
    &["  - {namespace: shop, name: o, labels: &l {k: w}}\n", "  - {namespace: shop, name: n, labels: *l}\n"],
    &["  - {namespace: shop, name: p, labels: &l {k: x}}\n"],
    &["  - {namespace: shop, name: m, labels: {k: \"\n", "  - \"}}\n"],
    &["  - {namespace: shop, name: m, labels: {k: '\n", "  - '}}\n  -\t{namespace: shop, name: n}\n"],
    &["  - {namespace: shop, name: m, labels: {k: \"\n", "  - \"}}\r  - {namespace: shop, name: n}\n\n"],
    &[
        "  - {namespace: shop, name: m}\n  -\t{namespace: shop, name: n}\n",
        "  - {namespace: shop, name: o, labels: {k: '\n",
        "  - '}}\n",
    ],
    &["  - {namespace: shop, name: m,\n  labels: {k: v}}\n"],
    &["  - {namespace: shop, name: m, labels: {k: \"\n  v\"}}\n"],
    &["  - {namespace: shop, name: m, running: false}"],
    &["  - *m\n"],
    &["  - <<: {namespace: shop}\n    name: m\n"],
    &["  - namespace: shop\n    name: m\n    labels:\n      k: |+\n\n\n"],
    &["  - namespace: shop\n    name: m\n    labels:\n      k: >2\n"],
    &["  - namespace: shop\n    name: m\n    labels: {k: v,\n"],
    &["  - namespace: shop\n    name: m\n    labels: {k: v"],
    &["  - namespace: shop\n    name: m\n    labels: {k: \"\n"],
    &["  - namespace: shop\n    name: m\n    labels:\n"],
    &["  - namespace: shop\n    name: m\n    interfaces:\n"],
    &["  - namespace: shop\n    name:\n"],
    &["  - {namespace: shop, name: A}\n"],
    &["    - {namespace: shop, name: m}\n"],
    &["- {namespace: shop, name: m}\n"],
    &[" - {namespace: shop, name: m}\n"],
    &["    name: m\n"],
    &["    labels: {x: y}\n"],
    &["      - {name: default, ipAddress: 192.0.2.1}\n"],
    &["        - {name: default}\n"],
    &["      k: v\n"],
    &["      two words\n"],
    &["\"}\n"],
    &["'}\n"],
    &["}\n"],
    &["    }\n"],
    &["# a comment: \"\n"],
    &["      # deeper\n"],
    &["\n"],
    &["   \n"],
    &["\t\n"],
    &["---\n"],
    &["...\n"],
    &["other: x\n"],
    &["virtualMachines:\n"],
    &["  - {namespace: shop, name: m}\r  - {namespace: shop, name: n}\r\n"],
];

/// What may stand before the items.
const HEADS: [&str; 10] = [
    "# a comment\n---\nvirtualMachines: # of this node\n",
    "virtualMachines: &all\n",
    "virtualMachines: [\n",
    "virtualMachines: |\n",
    "virtualMachines: \"\n",
    "virtualMachines: {\n",
    "? virtualMachines\n:\n",
    "? virtualMachines\n: - {namespace: shop, name: p}\n",
    "? virtualMachines\n: - {namespace: shop, name: p, labels: {k: \"\n  - \"}}\n",
    "",
];

/// A change to the items of a text.
#[derive(Clone, Debug)]
enum Edit {
    /// So that each is there once.
    Put(usize, &'static [&'static str]),
    Remove(usize),
    Rotate(usize),
    /// Only what is ordinary remains.
    Mend,
}

impl Edit {
    fn any() -> impl Strategy<Value = Self> {
        let ordinary = (0..ORDINARY.len()).prop_map(|index| &ORDINARY[index..=index]);
        let pieces = prop_oneof![4 => ordinary, 1 => select(&HOSTILE[..8]), 1 => select(&HOSTILE[..])];
        prop_oneof![
            6 => (0_usize..12, pieces).prop_map(|(at, pieces)| Self::Put(at, pieces)),
            2 => (0_usize..12).prop_map(Self::Remove),
            1 => (0_usize..12).prop_map(Self::Rotate),
            2 => Just(Self::Mend),
        ]
    }

    fn apply(self, pieces: &mut Vec<&'static str>) {
        let length = pieces.len();
        match self {
            Self::Put(at, put) => {
                pieces.retain(|piece| !put.contains(piece));
                let at = at % (pieces.len() + 1);
                pieces.splice(at..at, put.iter().copied());
            }
            Self::Remove(at) if at < length => drop(pieces.remove(at)),
            Self::Remove(_) => {}
            Self::Rotate(at) => pieces.rotate_left(at.min(length)),
            Self::Mend => pieces.retain(|piece| ORDINARY.contains(piece)),
        }
    }
}

/// Texts of a head and pieces, each a few edits from the one before.
fn texts() -> impl Strategy<Value = Vec<String>> {
    let head = || prop_oneof![9 => Just("virtualMachines:\n"), 1 => select(&HEADS[..])];
    let items = subsequence(&ORDINARY[..9], 4..=6).prop_shuffle();
    let edits = proptest::collection::vec(Edit::any(), 1..=2);
    let steps = proptest::collection::vec((proptest::option::weighted(0.05, head()), edits), 4..=12);
    (head(), items, steps).prop_map(|(mut head, mut pieces, steps)| {
        let step = |(other, edits): (Option<&'static str>, Vec<Edit>)| {
            head = other.unwrap_or(head);
            for edit in edits {
                edit.apply(&mut pieces);
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
