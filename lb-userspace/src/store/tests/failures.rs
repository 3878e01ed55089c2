//! Disks that fail, and agents that are killed at the first start.

use super::disk::{Disk, Failing};
use super::*;

/// One full disk, and every later write was refused until the agent was restarted.
#[test]
fn a_store_goes_on_after_a_disk_that_failed_for_a_while() {
    let disk = Disk::default();
    drop(RedbStore::on(&disk).unwrap());
    for after in 0..16 {
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

/// A read that failed closed the store as a write does, and was not healed: every later write was refused until the
/// agent was restarted.
#[test]
fn a_store_goes_on_after_a_read_that_failed() {
    let disk = Disk::default();
    RedbStore::on(&disk).unwrap().commit(&[put("a", "1")]).unwrap();
    let mut store = RedbStore::on(&disk).unwrap();
    disk.fail(Failing { after: 0, steps: 1 });
    assert!(store.load().is_err());
    let refused = store.commit(&[put("a", "2")]);
    assert!(refused.is_err(), "the read has closed it: {refused:?}");
    assert_eq!(store.commit(&[put("a", "3")]).unwrap(), 2);
    assert_eq!(store.load().unwrap()[0].content, b"3");
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

/// An empty store took the place of the link, and the real one was left behind.
#[test]
fn a_link_to_a_store_that_is_not_there_is_refused_and_kept() {
    let directory = Directory::new("link");
    for target in ["volume/lb.redb", "lb.redb"] {
        std::os::unix::fs::symlink(directory.0.join(target), directory.file()).unwrap();
        let error = RedbStore::open(&directory.file()).unwrap_err().to_string();
        assert!(error.contains("a link to") && error.contains(target), "{error}");
        assert_eq!(std::fs::read_link(directory.file()).unwrap(), directory.0.join(target));
        std::fs::remove_file(directory.file()).unwrap();
    }
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 0, "nothing was made");
}

#[test]
fn a_store_behind_a_link_is_opened() {
    let directory = Directory::new("linked");
    let real = directory.0.join("real.redb");
    RedbStore::open(&real).unwrap().commit(&[put("a", "1")]).unwrap();
    std::os::unix::fs::symlink(&real, directory.file()).unwrap();
    assert_eq!(RedbStore::open(&directory.file()).unwrap().load().unwrap().len(), 1);
}

/// The second named its empty store over the live one of the first.
#[test]
fn of_agents_that_start_at_once_one_has_the_store() {
    for _ in 0..8 {
        let directory = Directory::new("race");
        let together = std::sync::Barrier::new(4);
        let open = || {
            together.wait();
            RedbStore::open(&directory.file())
        };
        let opened: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        let (owners, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
        assert!(refused.iter().all(|result| matches!(result, Err(StoreError::InUse { .. }))), "{refused:?}");
        let mut owners: Vec<_> = owners.into_iter().map(Result::unwrap).collect();
        assert_eq!(owners.len(), 1);
        owners[0].commit(&[put("a", "1")]).unwrap();
        drop(owners);
        assert_eq!(RedbStore::open(&directory.file()).unwrap().load().unwrap().len(), 1);
    }
}
