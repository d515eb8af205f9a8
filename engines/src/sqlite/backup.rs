//! Copies both database files while other processes use them.
//!
//! The copies are of one moment: each is read from a snapshot, and both snapshots begin while no
//! process can commit to either file. So an activity, on its way between the files in either
//! direction, is in at least one of the copies, as after a power loss at that moment. Later commits
//! neither wait for the copy nor make it start again.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup as Copy, StepResult};

use super::data_dir::{DataDir, OWNER_ONLY_DIRECTORY, create_owner_only};
use super::error::describe;
use super::free_pages::pages;
use super::migrate::{QUEUE, STORE, Schema};
use trailpad_common::failure::Unavailable;

/// Pages that are copied between two reports of the progress: 16 MiB.
const PAGES_PER_STEP: i32 = 4_096;

/// A backup was not made. Each text is a sentence for an operator.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{} exists already: a backup overwrites nothing; name a new directory", .0.display())]
    Exists(PathBuf),
    #[error(
        "{} is the rest of a backup that was interrupted, or one that is being made: remove it first",
        .0.display()
    )]
    Unfinished(PathBuf),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("can't write {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
}

/// Snapshots of the files of a data directory, and the directory to which they are copied.
pub struct Backup {
    /// The queue's and the store's. A snapshot ends with its connection.
    snapshots: Vec<Snapshot>,
    target: PathBuf,
}

struct Snapshot {
    file: &'static str,
    connection: Connection,
    bytes: u64,
}

impl Backup {
    /// Begins a backup to the directory `target`, which must not exist.
    ///
    /// # Errors
    /// The target exists, or the files can't be read or have the schema of another version.
    pub fn begin(source: &DataDir, target: &Path) -> Result<Self, BackupError> {
        match fs::symlink_metadata(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(BackupError::Io { path: target.to_owned(), source }),
            Ok(_) => return Err(BackupError::Exists(target.to_owned())),
        }
        let store = source.open_store()?;
        // With the queue on RabbitMQ, there is no file of it.
        let has_queue = source.path().join(QUEUE.file).exists();
        let queue = if has_queue { Some(source.open_queue()?) } else { None };
        let at = |schema: &Schema, error: rusqlite::Error| BackupError::File {
            path: source.path().join(schema.file),
            reason: describe(&error),
        };
        let mut snapshots = Vec::new();
        {
            // The queue's last, because every 202 waits for it.
            let _store = Paused::new(&store).map_err(|error| at(&STORE, error))?;
            let _queue =
                queue.as_ref().map(Paused::new).transpose().map_err(|error| at(&QUEUE, error))?;
            if queue.is_some() {
                snapshots.push(Snapshot::new(&QUEUE, source.open_queue()?, at)?);
            }
            snapshots.push(Snapshot::new(&STORE, source.open_store()?, at)?);
        }
        Ok(Self { snapshots, target: target.to_owned() })
    }

    /// Bytes to copy.
    pub fn bytes(&self) -> u64 {
        self.snapshots.iter().map(|snapshot| snapshot.bytes).sum()
    }

    /// Copies the files, flushes them to the disk, and then gives the directory its name. So a
    /// directory of this name is complete. `progress` gets the number of bytes copied so far.
    ///
    /// Returns the size in bytes of each file.
    ///
    /// # Errors
    /// Reading or writing failed. Nothing is left of the backup.
    pub fn finish(self, progress: impl Fn(u64)) -> Result<Vec<(&'static str, u64)>, BackupError> {
        let unfinished = unfinished(&self.target);
        DirBuilder::new().mode(OWNER_ONLY_DIRECTORY).create(&unfinished).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                BackupError::Unfinished(unfinished.clone())
            } else {
                BackupError::Io { path: unfinished.clone(), source }
            }
        })?;
        let finished = self.copy_all(&unfinished, progress);
        if finished.is_err() {
            // The error of the copy is the one to report.
            let _ = fs::remove_dir_all(&unfinished);
        }
        finished
    }

    fn copy_all(
        &self,
        unfinished: &Path,
        progress: impl Fn(u64),
    ) -> Result<Vec<(&'static str, u64)>, BackupError> {
        let mut sizes = Vec::new();
        let mut done = 0;
        for snapshot in &self.snapshots {
            let path = unfinished.join(snapshot.file);
            snapshot.copy(&path, |bytes| progress(done + bytes))?;
            let size = flush(&path).map_err(|source| BackupError::Io { path, source })?;
            sizes.push((snapshot.file, size));
            done += snapshot.bytes;
        }
        let target = &self.target;
        // A directory is flushed as the owner of the names in it.
        let publish = || {
            flush(unfinished)?;
            fs::rename(unfinished, target)?;
            flush(parent(target))
        };
        publish().map_err(|source| BackupError::Io { path: target.clone(), source })?;
        Ok(sizes)
    }
}

/// Keeps every process from committing to a file, until it is dropped.
struct Paused<'c>(&'c Connection);

impl<'c> Paused<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(Self(connection))
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        // It changed nothing; the end of the connection releases the file too.
        let _ = self.0.execute_batch("ROLLBACK");
    }
}

impl Snapshot {
    /// A transaction of SQLite gets its snapshot at its first read.
    fn new(
        schema: &Schema,
        connection: Connection,
        at: impl Fn(&Schema, rusqlite::Error) -> BackupError,
    ) -> Result<Self, BackupError> {
        let begin = || {
            connection.execute_batch("BEGIN DEFERRED")?;
            Ok(pages(&connection, "page_count")? * pages(&connection, "page_size")?)
        };
        let bytes = begin().map_err(|error| at(schema, error))?;
        Ok(Self { file: schema.file, connection, bytes })
    }

    fn copy(&self, path: &Path, progress: impl Fn(u64)) -> Result<(), BackupError> {
        let at_path = |error: rusqlite::Error| BackupError::File {
            path: path.to_owned(),
            reason: describe(&error),
        };
        create_owner_only(path)
            .map_err(|source| BackupError::Io { path: path.to_owned(), source })?;
        let mut target = Connection::open(path).map_err(at_path)?;
        // The file is flushed once, at the end, and an interrupted copy is removed.
        target.pragma_update(None, "synchronous", "OFF").map_err(at_path)?;
        target.pragma_update(None, "journal_mode", "OFF").map_err(at_path)?;
        let copy = Copy::new(&self.connection, &mut target).map_err(at_path)?;
        loop {
            match copy.step(PAGES_PER_STEP).map_err(at_path)? {
                StepResult::Done => return Ok(()),
                StepResult::More => {
                    let left = copy.progress();
                    let copied = i64::from(left.pagecount - left.remaining);
                    let total = i64::from(left.pagecount).max(1);
                    let share = u64::try_from(copied).unwrap_or(0) as f64 / total as f64;
                    progress((self.bytes as f64 * share) as u64);
                }
                _ => {
                    let reason = "another process keeps the file busy".to_owned();
                    return Err(BackupError::File { path: path.to_owned(), reason });
                }
            }
        }
    }
}

/// Flushes a file or a directory to the disk; returns its size.
fn flush(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn unfinished(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use trailpad_common::queue::{Destination, MessageKind, QueueBackend};
    use trailpad_common::store::StoreBackend;

    use super::super::SqliteBackend;
    use super::*;

    fn count(path: &Path, table: &str) -> i64 {
        let connection = Connection::open(path).expect("the file should open");
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0)).expect("the rows should be counted")
    }

    #[tokio::test]
    async fn both_copies_are_of_the_moment_at_which_the_backup_began() {
        let place = tempfile::tempdir().expect("a temporary directory should be created");
        let data = DataDir::at(place.path().join("data"));
        let backend = SqliteBackend::serving(data.clone(), 0).expect("it should not be locked");
        StoreBackend::migrate(&backend).await.expect("migrating the store should succeed");
        QueueBackend::migrate(&backend).await.expect("migrating the queue should succeed");
        let queue = backend.queue("test", &[]).expect("the queue should open");
        let admin = backend.administration().expect("the store should open");
        let owner = trailpad_common::email::Email::folded("owner@example.com");
        let mut publisher = queue.publisher();
        let mut commit_to_both = async |name: &str| {
            admin.create_workspace(name, &owner).await.expect("it should be created");
            publisher
                .publish(Destination::Activities, MessageKind::Activities, b"body")
                .await
                .expect("publishing should succeed");
        };
        commit_to_both("before").await;
        let target = place.path().join("backup");
        let backup = Backup::begin(&data, &target).expect("the backup should begin");
        commit_to_both("after").await;
        let sizes = backup.finish(|_| ()).expect("the backup should be made");
        assert_eq!(
            sizes.iter().map(|(file, _)| *file).collect::<Vec<_>>(),
            [QUEUE.file, STORE.file]
        );
        assert_eq!(count(&target.join(QUEUE.file), "messages"), 1);
        assert_eq!(count(&target.join(STORE.file), "workspaces"), 1);
        assert_eq!(count(&data.path().join(STORE.file), "workspaces"), 2);
        assert!(!unfinished(&target).exists());
        let again = Backup::begin(&data, &target).map(|_| ());
        assert!(matches!(again, Err(BackupError::Exists(_))), "{again:?}");
    }
}
