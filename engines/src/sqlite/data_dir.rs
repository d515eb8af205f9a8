//! The data directory: where the files are, who may open them, and who serves them.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use trailpad_common::failure::Unavailable;

use super::error::describe;
use super::file::open;
use super::migrate::{self, QUEUE, STORE, Schema};

const OWNER_ONLY_DIRECTORY: u32 = 0o700;
const OWNER_ONLY_FILE: u32 = 0o600;

/// The directory that holds queue and store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

/// Why a data directory can't be served; each is a sentence for the person who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataDirError {
    /// Another process serves it.
    #[error("{} is served by another process: stop it first, or name another --data-dir", .0.display())]
    Served(PathBuf),
    /// The system refuses something.
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    Io(PathBuf, String),
    /// A file is damaged, or of something or somebody else. It is left as it is.
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    File(PathBuf, String),
}

/// Held by the process that serves a directory; the system lets go of it with the process.
#[derive(Debug)]
pub struct ServeLock(#[expect(dead_code, reason = "held for its lock")] File);

impl DataDir {
    /// The directory at `path`, which need not be there yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory, if it is not there, with rights for its owner alone, and takes it for
    /// this process.
    ///
    /// # Errors
    /// Another process serves it, or the system refuses.
    pub fn lock(&self) -> Result<ServeLock, DataDirError> {
        DirBuilder::new()
            .recursive(true)
            .mode(OWNER_ONLY_DIRECTORY)
            .create(&self.path)
            .map_err(|error| DataDirError::io(&self.path, &error))?;
        let path = self.path.join("serve.lock");
        let file = owner_only(&path).map_err(|error| DataDirError::io(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(ServeLock(file)),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Served(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(DataDirError::io(&path, &error)),
        }
    }

    /// Makes the store's file if it is missing, checks it if it is there, and brings its schema to
    /// this version; gives the names of the migrations that were applied now. Whoever holds the
    /// lock may do that.
    ///
    /// # Errors
    /// The file is damaged, of something else or of a newer version; it is left as it is.
    pub fn migrate_store(&self, _lock: &ServeLock) -> Result<Vec<String>, DataDirError> {
        self.migrate(&STORE)
    }

    /// The same for the queue's file.
    ///
    /// # Errors
    /// As above.
    pub fn migrate_queue(&self, _lock: &ServeLock) -> Result<Vec<String>, DataDirError> {
        self.migrate(&QUEUE)
    }

    fn migrate(&self, schema: &Schema) -> Result<Vec<String>, DataDirError> {
        let path = self.path.join(schema.file);
        owner_only(&path).map_err(|error| DataDirError::io(&path, &error))?;
        let migrated = migrate::migrate(&path, schema);
        let names = migrated.map_err(|why| DataDirError::File(path, why))?;
        Ok(names.into_iter().map(|name| format!("{name} ({})", schema.file)).collect())
    }

    /// Writes a file that only its owner may read, in place of one of that name.
    ///
    /// # Errors
    /// The system refuses.
    pub fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf, DataDirError> {
        let path = self.path.join(name);
        let write = || {
            if path.exists() {
                fs::remove_file(&path)?;
            }
            owner_only(&path)?;
            fs::write(&path, text)
        };
        write().map_err(|error| DataDirError::io(&path, &error))?;
        Ok(path)
    }

    pub(super) fn open_store(&self) -> Result<Connection, Unavailable> {
        self.open(&STORE)
    }

    pub(super) fn open_queue(&self) -> Result<Connection, Unavailable> {
        self.open(&QUEUE)
    }

    fn open(&self, schema: &Schema) -> Result<Connection, Unavailable> {
        let path = self.path.join(schema.file);
        if !path.exists() {
            let directory = self.path.display();
            return Err(Unavailable(format!(
                "{directory} holds no data: `trailpad serve` makes it, --data-dir names another place"
            )));
        }
        let explain = |why: String| Unavailable(format!("{}: {why}", path.display()));
        let connection = open(&path).map_err(|error| explain(describe(&error)))?;
        migrate::expect_current(&connection, schema).map_err(explain)?;
        Ok(connection)
    }
}

impl DataDirError {
    fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io(path.to_owned(), error.to_string())
    }
}

/// Opens a file for writing; makes it, with rights for its owner alone, if it is not there.
fn owner_only(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(OWNER_ONLY_FILE).open(path)
}
