//! A store that ends with the process.

use std::collections::BTreeMap;

use super::{Key, Record, Store, StoreError, Write};

/// Objects in memory.
#[derive(Default, Debug)]
pub struct MemoryStore {
    revision: u64,
    objects: BTreeMap<Key, (u64, Vec<u8>)>,
}

impl Store for MemoryStore {
    fn load(&self) -> Result<Vec<Record>, StoreError> {
        let record = |(key, (revision, content)): (&Key, &(u64, Vec<u8>))| Record {
            key: key.clone(),
            revision: *revision,
            content: content.clone(),
        };
        Ok(self.objects.iter().map(record).collect())
    }

    fn revision(&self) -> Result<u64, StoreError> {
        Ok(self.revision)
    }

    fn commit(&mut self, writes: &[Write]) -> Result<u64, StoreError> {
        self.revision += 1;
        for write in writes {
            match write {
                Write::Put(key, content) => {
                    self.objects.insert(key.clone(), (self.revision, content.clone()));
                }
                Write::Delete(key) => {
                    self.objects.remove(key);
                }
            }
        }
        Ok(self.revision)
    }

    fn place(&self) -> String {
        "memory".into()
    }
}
