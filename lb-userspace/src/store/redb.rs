//! The store in one redb file.

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

/// An open redb file; no other process can open it meanwhile.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    database: Database,
}

impl RedbStore {
    /// Opens the file, or creates it where there is none.
    ///
    /// # Errors
    /// When it is in use, damaged, not a store, or of another format; it is not changed then.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)
            .map_err(|source| StoreError::CreateDirectory { path: path.into(), source })?;
        // `create` would take an existing file, too, and make a database of it where it is empty.
        let exists = std::fs::metadata(path).is_ok();
        let database = if exists { Database::open(path) } else { Database::create(path) };
        let database = database.map_err(|error| open_error(path, &error))?;
        let store = Self { path: path.into(), database };
        if exists {
            store.check_format()?;
        } else {
            store.initialise()?;
        }
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let read = || -> Result<Option<u64>, redb::Error> {
            let transaction = self.database.begin_read()?;
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
            let transaction = self.database.begin_write()?;
            transaction.open_table(OBJECTS)?;
            transaction.open_table(META)?.insert(FORMAT_KEY, FORMAT)?;
            Ok(transaction.commit()?)
        };
        write().map_err(|error| self.write_error(&error))
    }

    fn write_error(&self, error: &redb::Error) -> StoreError {
        StoreError::Write { path: self.path.clone(), message: error.to_string() }
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
            let table = self.database.begin_read()?.open_table(OBJECTS)?;
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
        let read = || -> Result<u64, redb::Error> {
            let meta = self.database.begin_read()?.open_table(META)?;
            Ok(meta.get(REVISION_KEY)?.map_or(0, |value| value.value()))
        };
        read().map_err(|error| StoreError::Read { path: self.path.clone(), message: error.to_string() })
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        let write = || -> Result<u64, redb::Error> {
            let transaction = self.database.begin_write()?;
            let revision = next_revision(&transaction)?;
            {
                let mut objects = transaction.open_table(OBJECTS)?;
                for write in writes {
                    match write {
                        Write::Put(key, content) => {
                            objects.insert(object_key(key), (revision, content.as_slice()))?;
                        }
                        Write::Delete(key) => {
                            objects.remove(object_key(key))?;
                        }
                    }
                }
            }
            transaction.commit()?;
            Ok(revision)
        };
        write().map_err(|error| self.write_error(&error))
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
