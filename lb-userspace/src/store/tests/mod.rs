pub(crate) mod disk;
mod failures;

use std::path::PathBuf;

use super::*;

/// A directory of one test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lb-store-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("lb.redb")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn key(name: &str) -> Key {
    Key { resource: "loadbalancers".into(), namespace: "shop".into(), name: name.into() }
}

fn put(name: &str, content: &str) -> Write {
    Write::Put(key(name), content.into())
}

fn transactions_are_kept_in_order(store: &mut dyn Store) {
    let first = store.commit(&[put("b", "1"), put("a", "2")]).unwrap();
    let second = store.commit(&[put("a", "3"), Write::Delete(key("b")), Write::Delete(key("x"))]).unwrap();
    assert!(second > first);
    let expected = Record { key: key("a"), revision: second, content: b"3".into() };
    assert_eq!(store.load().unwrap(), [expected]);
    // A deletion is a revision, too: nobody may be given the one before it again.
    let third = store.commit(&[Write::Delete(key("a")), put("a", "3")]).unwrap();
    assert_eq!(store.revision().unwrap(), third);
}

#[test]
fn memory_keeps_transactions_in_order() {
    transactions_are_kept_in_order(&mut MemoryStore::default());
}

#[test]
fn a_file_keeps_transactions_over_a_restart() {
    let directory = Directory::new("restart");
    transactions_are_kept_in_order(&mut RedbStore::open(&directory.file()).unwrap());
    let mut store = RedbStore::open(&directory.file()).unwrap();
    assert_eq!(store.load().unwrap().len(), 1);
    assert_eq!(store.commit(&[Write::Delete(key("a"))]).unwrap(), 4);
    drop(store);
    let store = RedbStore::open(&directory.file()).unwrap();
    assert_eq!(store.revision().unwrap(), 4, "the last transaction left no record");
}

#[test]
fn a_store_has_one_owner() {
    let directory = Directory::new("owner");
    let _first = RedbStore::open(&directory.file()).unwrap();
    let error = RedbStore::open(&directory.file()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
}

fn is_refused_and_kept(name: &str, content: &[u8]) {
    let directory = Directory::new(name);
    std::fs::write(directory.file(), content).unwrap();
    let error = RedbStore::open(&directory.file()).unwrap_err().to_string();
    assert!(error.contains(&directory.file().display().to_string()), "{error}");
    assert!(error.contains("move it away"), "{error}");
    assert_eq!(std::fs::read(directory.file()).unwrap(), content);
}

#[test]
fn a_file_that_is_no_store_is_refused_and_kept() {
    is_refused_and_kept("text", b"not a database at all\n");
    is_refused_and_kept("long", &vec![0x5a; 100_000]);
    is_refused_and_kept("empty", b"");
}

#[test]
fn a_truncated_store_is_refused_and_kept() {
    let directory = Directory::new("whole");
    RedbStore::open(&directory.file()).unwrap().commit(&[put("a", "1")]).unwrap();
    let whole = std::fs::read(directory.file()).unwrap();
    is_refused_and_kept("truncated", &whole[..whole.len() / 2]);
    is_refused_and_kept("header", &whole[..100]);
}

#[test]
fn a_database_of_another_program_is_refused() {
    let directory = Directory::new("foreign");
    drop(::redb::Database::create(directory.file()).unwrap());
    let error = RedbStore::open(&directory.file()).unwrap_err().to_string();
    assert!(error.contains("another program"), "{error}");
}

#[test]
fn another_format_is_refused_with_both_numbers() {
    let directory = Directory::new("format");
    drop(RedbStore::open(&directory.file()).unwrap());
    {
        let database = ::redb::Database::open(directory.file()).unwrap();
        let transaction = database.begin_write().unwrap();
        let meta = ::redb::TableDefinition::<&str, u64>::new("meta");
        transaction.open_table(meta).unwrap().insert("format", 7).unwrap();
        transaction.commit().unwrap();
    }
    let error = RedbStore::open(&directory.file()).unwrap_err();
    assert!(matches!(error, StoreError::Format { found: 7, expected: 1, .. }), "{error}");
}
