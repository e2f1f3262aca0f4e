//! The database in a directory of this machine as the engine of the store.

use std::path::PathBuf;

use super::database::Database;
use super::engine::{Batch, Engine, Failure, Refusal};
use super::error::StoreError;
use super::record::Kept;

/// The database in a directory.
#[derive(Debug)]
pub(super) struct FileEngine {
    dir: PathBuf,
    database: Option<Database>,
    /// The last message that was read of those left over.
    after: u64,
    /// The first message of this process; those with lower numbers were left by a previous one.
    first_id: u64,
}

impl FileEngine {
    /// Opens it for the first time.
    pub(super) fn new(dir: PathBuf) -> Result<Self, StoreError> {
        let database = Database::open(&dir, None)?;
        let next_id = database.next_id();
        let first_id = next_id.map_err(|error| StoreError::of_folder(&dir, error))?;
        Ok(FileEngine {
            dir,
            database: Some(database),
            after: 0,
            first_id,
        })
    }

    /// A number above those of all messages in it when it was opened first.
    pub(super) fn first_id(&self) -> u64 {
        self.first_id
    }

    /// The files of its large messages: message, name, and size in bytes.
    pub(super) fn contents(&self) -> Result<Vec<(u64, String, u64)>, StoreError> {
        self.database
            .as_ref()
            .map_or(Ok(Vec::new()), Database::contents)
    }

    fn opened(&mut self) -> Result<&mut Database, Failure> {
        self.database.as_mut().ok_or_else(|| Failure {
            why: "it is not open".to_owned(),
            refusal: Refusal::Down,
        })
    }
}

impl Engine for FileEngine {
    fn open(&mut self) -> Result<(), Failure> {
        let database = Database::open(&self.dir, None).map_err(|error| Failure {
            why: error.to_string(),
            refusal: Refusal::Down,
        })?;
        self.database = Some(database);
        Ok(())
    }

    fn close(&mut self) {
        self.database = None;
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let database = self.opened()?;
        // What fails here fails below.
        let _ = database.mind_clock();
        Ok(database.write(batch)?)
    }

    fn read(&mut self, ids: &[u64]) -> Result<Vec<Option<Kept>>, Failure> {
        let database = self.opened()?;
        ids.iter().map(|id| Ok(database.read(*id)?)).collect()
    }

    fn left_over(&mut self, bytes: usize) -> Result<Vec<Kept>, Failure> {
        let (after, before) = (self.after, self.first_id);
        let messages = self.opened()?.read_between(after, before, bytes)?;
        if let Some(last) = messages.last() {
            self.after = last.id;
        }
        Ok(messages)
    }

    fn bytes(&self) -> Option<u64> {
        self.database.as_ref().map(Database::bytes)
    }

    fn free_bytes(&self) -> u64 {
        self.database.as_ref().map_or(0, Database::free_bytes)
    }

    fn tidy(&mut self) -> Result<bool, Failure> {
        Ok(self.opened()?.tidy()?)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let refusal = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Refusal::Full,
            _ => Refusal::Down,
        };
        Failure {
            why: error.to_string(),
            refusal,
        }
    }
}
