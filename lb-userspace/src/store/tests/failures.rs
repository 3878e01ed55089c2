//! Disks that fail, and agents that are killed at the first start.

use super::disk::{Disk, Failing};
use super::*;

/// One full disk, and every later write was refused until the agent was restarted.
#[test]
fn a_store_goes_on_after_a_disk_that_failed_for_a_while() {
    let disk = Disk::default();
    drop(RedbStore::on(&disk).unwrap());
    for after in 0..12 {
        for steps in [1, 2, 5, 20] {
            let disk = Disk::of(image(&disk));
            let mut store = RedbStore::on(&disk).unwrap();
            let first = store.commit(&[put("a", "1"), put("b", "1")]).unwrap();
            disk.fail(Failing { after, steps });
            let result = store.commit(&[put("a", "2"), Write::Delete(key("b")), put("c", "2")]);
            disk.fail(Failing::default());
            let last =
                store.commit(&[put("d", "3")]).unwrap_or_else(|error| panic!("{after} {steps}: {error}"));
            let contents: Vec<_> =
                store.load().unwrap().iter().map(|r| (r.key.name.clone(), r.content.clone())).collect();
            let expected: &[(&str, &[u8])] = match result {
                Ok(_) => &[("a", b"2"), ("c", b"2"), ("d", b"3")],
                Err(_) => &[("a", b"1"), ("b", b"1"), ("d", b"3")],
            };
            let expected: Vec<_> =
                expected.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec())).collect();
            assert_eq!(contents, expected, "{after} {steps}: {result:?}");
            assert!(last > first);
            drop(store);
            assert_eq!(RedbStore::on(&disk).unwrap().load().unwrap().len(), 3);
        }
    }
}

fn image(disk: &Disk) -> super::disk::Image {
    let mut image = super::disk::Image::default();
    disk.steps().iter().for_each(|step| image.apply(step));
    image
}

/// It was refused as another program's database for ever.
#[test]
fn a_store_that_was_half_made_when_the_agent_was_killed_is_made_anew() {
    let directory = Directory::new("half");
    let new = directory.file().with_extension("new");
    std::fs::write(&new, b"the first half").unwrap();
    let mut store = RedbStore::open(&directory.file()).unwrap();
    assert_eq!(store.commit(&[put("a", "1")]).unwrap(), 1);
    assert!(!new.exists());
    drop(store);
    assert_eq!(RedbStore::open(&directory.file()).unwrap().load().unwrap().len(), 1);
}
