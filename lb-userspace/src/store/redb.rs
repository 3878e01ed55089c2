//! The store in one redb file.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition, TableError,
    WriteTransaction,
};

use super::{Key, Record, Store, StoreError, Write};

/// (resource, namespace, name) → (revision, content).
type ObjectKey = (&'static str, &'static str, &'static str);
const OBJECTS: TableDefinition<'_, ObjectKey, (u64, &[u8])> = TableDefinition::new("objects");
/// [`FORMAT_KEY`] and [`REVISION_KEY`].
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const FORMAT_KEY: &str = "format";
const REVISION_KEY: &str = "revision";
/// Changes when what the tables mean changes.
const FORMAT: u64 = 1;

/// Bytes of the file that are kept in memory: objects are, too, and are read but at the start.
const CACHE: usize = 4 << 20;

/// What the database is kept on.
trait Medium: std::fmt::Debug + Send {
    /// Opens it; no other process can open it meanwhile.
    fn open(&self) -> Result<Database, DatabaseError>;
}

impl Medium for PathBuf {
    fn open(&self) -> Result<Database, DatabaseError> {
        Database::builder().set_cache_size(CACHE).open(self)
    }
}

#[cfg(test)]
impl Medium for super::tests::disk::Disk {
    fn open(&self) -> Result<Database, DatabaseError> {
        // Without a cache, so that reads come to the disk.
        Database::builder().set_cache_size(0).create_with_backend(self.clone())
    }
}

/// A redb file. After an error of the disk it is opened anew: redb itself would refuse everything from then on.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    medium: Box<dyn Medium>,
    /// `None` until it can be opened again.
    database: Option<Database>,
    doubt: Option<Doubt>,
}

/// A transaction that failed at a moment at which it may have been finished.
#[derive(Debug)]
struct Doubt {
    /// Its revision.
    revision: u64,
    /// What undoes it.
    inverse: Vec<Write>,
}

impl RedbStore {
    /// Opens the file, or creates it where there is none.
    ///
    /// # Errors
    /// When it is in use, damaged, not a store, or of another format; it is not changed then.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if is_new(path)? {
            Self::create(path)?;
        }
        let database = path.to_owned().open().map_err(|error| open_error(path, &error))?;
        let store = Self::over(path, Box::new(path.to_owned()), database);
        store.check_format()?;
        Ok(store)
    }

    /// Makes an empty store where there is nothing: whole or not at all, for what a killed agent left half made would
    /// be refused for ever. Of agents that start at once one makes it, and what is there is never replaced.
    fn create(path: &Path) -> Result<(), StoreError> {
        let failed = |source| StoreError::CreateDirectory { path: path.into(), source };
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory).map_err(failed)?;
        let directory = File::open(directory).map_err(failed)?;
        directory.lock().map_err(failed)?;
        if !is_new(path)? {
            return Ok(());
        }
        let new = path.with_extension("new");
        drop(std::fs::remove_file(&new));
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create(&new)
            .map_err(|error| open_error(path, &error))?;
        Self::over(path, Box::new(new.clone()), database).initialise()?;
        let named = std::fs::hard_link(&new, path).and_then(|()| std::fs::remove_file(&new));
        named.and_then(|()| directory.sync_all()).map_err(failed)
    }

    fn over(path: &Path, medium: Box<dyn Medium>, database: Database) -> Self {
        Self { path: path.into(), medium, database: Some(database), doubt: None }
    }

    /// On something that behaves like a disk, and has a store or nothing.
    #[cfg(test)]
    pub(crate) fn on(disk: &super::tests::disk::Disk) -> Result<Self, StoreError> {
        let path = Path::new("disk");
        let is_new = disk.is_empty();
        let database = disk.open().map_err(|error| open_error(path, &error))?;
        let store = Self::over(path, Box::new(disk.clone()), database);
        if is_new {
            store.initialise()?;
        } else {
            store.check_format()?;
        }
        Ok(store)
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or(redb::Error::PreviousIo)
    }

    /// Opens what an error has closed. A transaction that was told as failed and is there all the same is undone:
    /// whoever asked for it goes on from what was before.
    fn reopen(&mut self) -> Result<(), redb::Error> {
        if self.database.is_none() {
            self.database = Some(self.medium.open()?);
        }
        let Some(doubt) = self.doubt.take() else { return Ok(()) };
        let undone = self.last_revision().and_then(|revision| {
            if revision >= doubt.revision { self.execute(&doubt.inverse).1 } else { Ok(revision) }
        });
        if let Err(error) = undone {
            (self.database, self.doubt) = (None, Some(doubt));
            return Err(error);
        }
        Ok(())
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let read = || -> Result<Option<u64>, redb::Error> {
            let transaction = self.database()?.begin_read()?;
            let meta = match transaction.open_table(META) {
                Ok(meta) => meta,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            Ok(meta.get(FORMAT_KEY)?.map(|value| value.value()))
        };
        let path = || self.path.clone();
        match read() {
            Ok(Some(FORMAT)) => Ok(()),
            Ok(Some(found)) => Err(StoreError::Format { path: path(), found, expected: FORMAT }),
            Ok(None) => {
                Err(StoreError::Open { path: path(), message: "it is a database of another program".into() })
            }
            Err(error) => Err(StoreError::Open { path: path(), message: error.to_string() }),
        }
    }

    fn initialise(&self) -> Result<(), StoreError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database()?.begin_write()?;
            transaction.open_table(OBJECTS)?;
            transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.write_error(&error))
    }

    fn last_revision(&self) -> Result<u64, redb::Error> {
        let meta = self.database()?.begin_read()?.open_table(META)?;
        Ok(meta.get(REVISION_KEY)?.map_or(0, |value| value.value()))
    }

    /// One transaction, and what undoes it.
    fn execute(&self, writes: &[Write]) -> (Vec<Write>, Result<u64, redb::Error>) {
        let mut inverse = Vec::with_capacity(writes.len());
        let mut execute = || -> Result<u64, redb::Error> {
            let transaction = self.database()?.begin_write()?;
            let revision = next_revision(&transaction)?;
            {
                let mut objects = transaction.open_table(OBJECTS)?;
                for write in writes {
                    let (key, old) = match write {
                        Write::Put(key, content) => {
                            (key, objects.insert(object_key(key), (revision, content.as_slice()))?)
                        }
                        Write::Delete(key) => (key, objects.remove(object_key(key))?),
                    };
                    let old = old.map(|old| old.value().1.to_vec());
                    inverse.push(old.map_or(Write::Delete(key.clone()), |old| Write::Put(key.clone(), old)));
                }
            }
            transaction.commit()?;
            Ok(revision)
        };
        let result = execute();
        inverse.reverse();
        (inverse, result)
    }

    fn write_error(&self, error: &redb::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), message: error.to_string() }
    }
}

/// Whether nothing has the name. A link to what is not there is no empty place: the store may be on a volume that is
/// not mounted.
fn is_new(path: &Path) -> Result<bool, StoreError> {
    let failed = |message| StoreError::Open { path: path.into(), message };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed(error.to_string())),
        Ok(found) if !found.is_symlink() => Ok(false),
        Ok(_) => match std::fs::metadata(path) {
            Ok(_) => Ok(false),
            Err(error) => {
                let target = std::fs::read_link(path).unwrap_or_default();
                let target = target.display();
                Err(failed(format!(
                    "it is a link to {target}, which may be on a volume not mounted ({error})"
                )))
            }
        },
    }
}

fn open_error(path: &Path, error: &DatabaseError) -> StoreError {
    let path = path.to_owned();
    if let DatabaseError::DatabaseAlreadyOpen = error {
        return StoreError::InUse { path };
    }
    if let DatabaseError::Storage(StorageError::Io(error)) = error {
        return StoreError::Open { path, message: error.to_string() };
    }
    StoreError::Open { path, message: error.to_string() }
}

impl Store for RedbStore {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        let read = || -> Result<Vec<Record>, redb::Error> {
            let table = self.database()?.begin_read()?.open_table(OBJECTS)?;
            let mut records = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                let (resource, namespace, name) = key.value();
                let key = Key { resource: resource.into(), namespace: namespace.into(), name: name.into() };
                let (revision, content) = value.value();
                records.push(Record { key, revision, content: content.to_vec() });
            }
            Ok(records)
        };
        read().map_err(|error| StoreError::Read { path: self.path.clone(), message: error.to_string() })
    }

    fn revision(&self) -> Result<u64, StoreError> {
        self.last_revision()
            .map_err(|error| StoreError::Read { path: self.path.clone(), message: error.to_string() })
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        self.reopen().map_err(|error| self.write_error(&error))?;
        let before = match self.last_revision() {
            Ok(before) => before,
            Err(error) => {
                // A read that fails closes it, too: the next commit opens it anew.
                self.database = None;
                return Err(self.write_error(&error));
            }
        };
        let (inverse, result) = self.execute(writes);
        let error = match result {
            Ok(revision) => return Ok(revision),
            Err(error) => error,
        };
        // Whether it was finished shows when the file is read again.
        let failed = self.write_error(&error);
        let revision = before + 1;
        self.database = None;
        self.database = self.medium.open().ok();
        match self.last_revision() {
            Ok(found) if found >= revision => Ok(found),
            Ok(_) => Err(failed),
            Err(_) => {
                (self.database, self.doubt) = (None, Some(Doubt { revision, inverse }));
                Err(failed)
            }
        }
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

fn object_key(key: &Key) -> (&str, &str, &str) {
    (&key.resource, &key.namespace, &key.name)
}

fn next_revision(transaction: &WriteTransaction) -> Result<u64, redb::Error> {
    let mut meta = transaction.open_table(META)?;
    let revision = meta.get(REVISION_KEY)?.map_or(0, |value| value.value()) + 1;
    meta.insert(REVISION_KEY, revision)?;
    Ok(revision)
}
