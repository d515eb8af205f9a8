//! The data directory: its files, their permissions, and the lock of the process that serves it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use trailpad_common::failure::Unavailable;

use super::error::describe;
use super::file::{log_of, open};
use super::look::{is_passing, look};
use super::migrate::{self, QUEUE, STORE, Schema};

pub(super) const OWNER_ONLY_DIRECTORY: u32 = 0o700;
const OWNER_ONLY_FILE: u32 = 0o600;

/// The directory that holds the files of queue and store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

/// A data directory can't be used. Each text is a sentence for an operator.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    #[error("{} is served by another process: stop it first, or use another data directory", .0.display())]
    Served(PathBuf),
    #[error("can't use {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    /// A file is damaged, or belongs to another application or version. It is left unchanged.
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
}

/// Held by the process that serves a directory. The system releases it when the process ends.
#[derive(Debug)]
pub struct ServeLock(#[expect(dead_code, reason = "held for its lock")] File);

impl DataDir {
    /// The directory need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the directory if it is missing, accessible only by its owner, and locks it for this
    /// process.
    ///
    /// # Errors
    /// Another process serves the directory, or it can't be created or locked.
    pub fn lock(&self) -> Result<ServeLock, DataDirError> {
        DirBuilder::new()
            .recursive(true)
            .mode(OWNER_ONLY_DIRECTORY)
            .create(&self.path)
            .map_err(|error| DataDirError::io(&self.path, error))?;
        let path = self.path.join("serve.lock");
        let file = open_owner_only(&path).map_err(|error| DataDirError::io(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(ServeLock(file)),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Served(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(DataDirError::io(&path, error)),
        }
    }

    /// Creates the file of a schema if it is missing, checks it if it exists, and brings its schema
    /// to this version; returns the names of the migrations that it applied. Needs the lock.
    ///
    /// # Errors
    /// The file is damaged, or belongs to another application or a newer version; it is left
    /// unchanged.
    pub(super) fn migrate(
        &self,
        schema: &Schema,
        _lock: &ServeLock,
    ) -> Result<Vec<String>, DataDirError> {
        let path = self.path.join(schema.file);
        open_owner_only(&path).map_err(|error| DataDirError::io(&path, error))?;
        let migrated = migrate::migrate(&path, schema);
        let names = migrated.map_err(|reason| DataDirError::File { path, reason })?;
        Ok(names.into_iter().map(|name| format!("{name} ({})", schema.file)).collect())
    }

    /// Writes a file that only its owner may read; replaces a file of the same name.
    ///
    /// # Errors
    /// The file can't be removed, created or written.
    pub fn write_secret(&self, name: &str, text: &str) -> Result<PathBuf, DataDirError> {
        let path = self.path.join(name);
        let write = || {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            open_owner_only(&path)?;
            fs::write(&path, text)
        };
        write().map_err(|error| DataDirError::io(&path, error))?;
        Ok(path)
    }

    pub(super) fn open_store(&self) -> Result<Connection, Unavailable> {
        self.open(&STORE)
    }

    pub(super) fn open_queue(&self) -> Result<Connection, Unavailable> {
        self.open(&QUEUE)
    }

    /// Sizes in bytes of the write-ahead logs, by the name of their database file. A file without a
    /// log is missing in the list.
    pub fn log_bytes(&self) -> Vec<(&'static str, u64)> {
        let size = |schema: &Schema| {
            let log = fs::metadata(log_of(&self.path.join(schema.file))).ok()?;
            Some((schema.file, log.len()))
        };
        [&QUEUE, &STORE].into_iter().filter_map(size).collect()
    }

    /// Returns the path of a file that exists.
    pub(super) fn existing(&self, schema: &Schema) -> Result<PathBuf, Unavailable> {
        let path = self.path.join(schema.file);
        match fs::metadata(&path) {
            Ok(_) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = self.path.display();
                Err(Unavailable(format!(
                    "{directory} holds no data: `trailpad serve` creates it, --data-dir names another directory"
                )))
            }
            Err(error) => Err(Unavailable(format!("can't read {}: {error}", path.display()))),
        }
    }

    /// Opens a file that has the schema of this version. A file that is refused is left unchanged.
    fn open(&self, schema: &Schema) -> Result<Connection, Unavailable> {
        let path = self.existing(schema)?;
        let at_path = |reason: String| Unavailable(format!("{}: {reason}", path.display()));
        let failed = |error: rusqlite::Error| at_path(describe(&error));
        let opened = match look(&path, migrate::version) {
            // Another process is writing, so it has opened the file, and opening it changes nothing.
            Err(error) if is_passing(&error) => {
                let connection = open(&path).map_err(failed)?;
                let version = migrate::version(&connection).map_err(failed)?;
                migrate::expect_current(version, schema).map_err(at_path)?;
                Ok(connection)
            }
            version => {
                let version = version.map_err(failed)?;
                migrate::expect_current(version, schema).map_err(at_path)?;
                open(&path)
            }
        };
        opened.map_err(failed)
    }
}

impl DataDirError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

/// Opens a file for writing; creates it, accessible only by its owner, if it is missing.
fn open_owner_only(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(OWNER_ONLY_FILE).open(path)
}

/// Creates a file that is accessible only by its owner, and must not exist yet.
pub(super) fn create_owner_only(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(OWNER_ONLY_FILE).open(path)
}
