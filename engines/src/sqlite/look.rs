//! Reads a database file without writing to it, to its write-ahead log or to its shared memory.
//!
//! An ordinary connection writes when it opens a file that a killed process left: it rebuilds the
//! shared memory, and at its end it moves the log into the file. That would destroy the evidence if
//! the file is damaged, and the backup if an old log lies beside it.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Result};

use super::file::{log_of, shared_memory_of};

const ATTEMPTS: u32 = 5;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(50);
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// How a file can be read without a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// No log exists: the file is complete.
    FileOnly,
    /// A log without shared memory: no other process uses the file, so no lock is needed, and the
    /// index of the log is built in memory (sqlite.org/wal.html#noshm).
    Alone,
    /// Other processes may use the file. If none does, SQLite builds the index in memory
    /// (sqlite.org/wal.html#readonly).
    Shared,
}

/// Calls `read` with a connection that sees the file and its log. Tries again while other processes
/// are changing the file.
pub(super) fn look<T>(path: &Path, read: impl Fn(&Connection) -> Result<T>) -> Result<T> {
    let mut attempt = 1;
    loop {
        let result = open(path).and_then(|connection| read(&connection));
        match result {
            Err(error) if is_passing(&error) && attempt < ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(ATTEMPT_INTERVAL);
            }
            result => return result,
        }
    }
}

/// `true` if another process caused the error, and not the content of the file.
pub(super) fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::ReadOnly)
    )
}

fn open(path: &Path) -> Result<Connection> {
    let way = way(log_of(path).exists(), shared_memory_of(path).exists());
    let parameters = match way {
        Way::FileOnly => "immutable=1",
        Way::Alone => "vfs=unix-none",
        Way::Shared => "readonly_shm=1",
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri(path, parameters), flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if way == Way::Alone {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    Ok(connection)
}

fn way(has_log: bool, has_shared_memory: bool) -> Way {
    match (has_log, has_shared_memory) {
        (false, _) => Way::FileOnly,
        (_, false) => Way::Alone,
        _ => Way::Shared,
    }
}

/// The path as a URI: every byte that could have a meaning in it is escaped
/// (sqlite.org/uri.html).
fn uri(path: &Path, parameters: &str) -> String {
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "file:" });
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(byte.into());
            }
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri.push('?');
    uri.push_str(parameters);
    uri
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::file;
    use super::*;

    fn bytes(path: &Path) -> Vec<Option<Vec<u8>>> {
        let files = [path.to_owned(), log_of(path), shared_memory_of(path)];
        files.iter().map(|file| fs::read(file).ok()).collect()
    }

    fn rows(path: &Path) -> i64 {
        look(path, |connection| {
            connection.query_row("SELECT count(*) FROM a", [], |row| row.get(0))
        })
        .expect("the file should be read")
    }

    #[test]
    fn a_look_sees_the_log_and_writes_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory should be created");
        let live = directory.path().join("live.db");
        fs::File::create(&live).expect("the file should be created");
        let connection = file::open(&live).expect("the file should open");
        connection
            .execute_batch("CREATE TABLE a (b); INSERT INTO a VALUES (1)")
            .expect("the SQL should run");
        assert_eq!(rows(&live), 1, "while another connection is open");

        // As a killed process leaves them.
        let path = directory.path().join("100 % left?.db");
        fs::copy(&live, &path).expect("copying should succeed");
        fs::copy(log_of(&live), log_of(&path)).expect("copying should succeed");
        fs::copy(shared_memory_of(&live), shared_memory_of(&path)).expect("copying should succeed");
        let before = bytes(&path);
        assert_eq!(rows(&path), 1);
        assert!(bytes(&path) == before);

        fs::remove_file(shared_memory_of(&path)).expect("removing should succeed");
        let before = bytes(&path);
        assert_eq!(rows(&path), 1);
        assert!(bytes(&path) == before && before[2].is_none());

        drop(connection);
        let before = bytes(&live);
        assert_eq!(rows(&live), 1, "after a clean end");
        assert!(bytes(&live) == before && before[1].is_none());
    }

    #[test]
    fn a_uri_escapes_every_byte_with_a_meaning() {
        assert_eq!(uri(Path::new("/a b?c#d%/e.db"), "x=1"), "file:///a%20b%3Fc%23d%25/e.db?x=1");
        assert_eq!(uri(Path::new("data/store.db"), "x=1"), "file:data/store.db?x=1");
    }
}
