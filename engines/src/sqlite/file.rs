//! Opens a database file, and shares one connection to it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Result, TransactionBehavior};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::free_pages;

/// Maximum wait for a write transaction of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log is truncated to this size after it was larger.
pub(super) const LOG_BYTES_KEPT: u64 = 16 << 20;

/// Opens an existing file with the settings that all its users must share.
///
/// In WAL mode with `synchronous=FULL` a commit is on the disk when it returns
/// (sqlite.org/pragma.html#pragma_synchronous). On macOS, `fsync` leaves the data in the disk's own
/// cache; `fullfsync` flushes that too (sqlite.org/pragma.html#pragma_fullfsync).
pub(super) fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    // Without a VACUUM, it can be set only before anything is written. Setting it later in a file
    // that has it would be a write.
    if free_pages::pages(&connection, "page_count")? == 0 {
        free_pages::keep_movable(&connection)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_KEPT.cast_signed())?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens a file that other connections write to, for reading only.
pub(super) fn open_read_only(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The write-ahead log of a database file.
pub(super) fn log_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The index of the write-ahead log, which the users of a database file share.
pub(super) fn shared_memory_of(path: &Path) -> PathBuf {
    beside(path, "-shm")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// One connection that tasks use in turn.
pub(super) struct Database(Mutex<Connection>);

impl Database {
    pub fn new(connection: Connection) -> Self {
        Self(Mutex::new(connection))
    }

    /// Calls `work` with the connection. On a multi-threaded runtime the other tasks of this thread
    /// move to another thread meanwhile.
    pub fn with<T>(&self, work: impl FnOnce(&mut Connection) -> T) -> T {
        let work = || work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
            _ => work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_on_the_disk_when_it_returns() {
        let path = std::env::temp_dir().join(format!("trailpad-{}.db", uuid::Uuid::now_v7()));
        std::fs::File::create(&path).expect("the file should be created");
        let connection = open(&path).expect("the file should open");
        let setting = |name: &str| -> String {
            let read = |row: &rusqlite::Row<'_>| row.get::<_, rusqlite::types::Value>(0);
            format!(
                "{:?}",
                connection.pragma_query_value(None, name, read).expect("the pragma should be read")
            )
        };
        assert_eq!(setting("journal_mode"), r#"Text("wal")"#);
        assert_eq!(setting("synchronous"), "Integer(2)", "2 is FULL");
        assert_eq!(setting("fullfsync"), "Integer(1)");
        assert_eq!(setting("checkpoint_fullfsync"), "Integer(1)");
        drop(connection);
        std::fs::remove_file(&path).expect("the file should be removed");
    }
}
