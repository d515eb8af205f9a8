//! Returns the free pages of a database file to the disk.
//!
//! Rows that are deleted leave free pages in the file, and later rows go there first. With
//! `auto_vacuum=INCREMENTAL` the pages can also be returned, some at a time
//! (sqlite.org/pragma.html#pragma_auto_vacuum).

use std::path::Path;

use rusqlite::{Connection, Result};

use super::disk::free_bytes_of_disk;
use super::error::describe;

/// Pages that one transaction moves: 4 MiB, so that other writers wait only briefly.
pub(super) const PAGES_PER_STEP: u64 = 1_024;
/// A file up to this size is converted at the start. It takes a few seconds on a common disk.
const CONVERTED_BYTES_MAX: u64 = 256 << 20;
/// A VACUUM writes a copy into a temporary file, and that into the write-ahead log.
const CONVERSION_COPIES: u64 = 2;
const INCREMENTAL: i64 = 2;

/// Reads a pragma that counts pages, such as `freelist_count`.
pub(super) fn pages(connection: &Connection, pragma: &str) -> Result<u64> {
    let count: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Sets `auto_vacuum=INCREMENTAL` for an empty file, or for the next VACUUM.
pub(super) fn keep_movable(connection: &Connection) -> Result<()> {
    connection.pragma_update(None, "auto_vacuum", INCREMENTAL)
}

/// Returns up to `count` free pages to the disk, in one transaction. Returns the number of free
/// pages that are left.
pub(super) fn give_back(connection: &Connection, count: u64) -> Result<u64> {
    let free = movable(connection)?;
    if free > 0 {
        // Each step of the statement moves one page.
        let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({count})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(free.saturating_sub(count))
}

/// Moves the log into the file, after which the file is as small as its pages. A reader can delay
/// that; then a later checkpoint does it.
pub(super) fn checkpoint(connection: &Connection) -> Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Counts the free pages that can be returned to the disk: none in a file without `auto_vacuum`.
pub(super) fn movable(connection: &Connection) -> Result<u64> {
    if is_movable(connection)? { pages(connection, "freelist_count") } else { Ok(0) }
}

/// Bytes of the free pages.
pub(super) fn free_bytes(connection: &Connection) -> Result<u64> {
    Ok(pages(connection, "freelist_count")? * pages(connection, "page_size")?)
}

fn is_movable(connection: &Connection) -> Result<bool> {
    let mode: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
    Ok(mode == INCREMENTAL)
}

/// Converts a file of an earlier version, if it is small and the disk has room. Otherwise the file
/// is used as it is: its free pages are reused, and not returned to the disk.
pub(super) fn convert(connection: &Connection, path: &Path) {
    let converted = is_movable(connection)
        .map_err(|error| describe(&error))
        .and_then(|is| if is { Ok(()) } else { vacuum(connection, path) });
    if let Err(reason) = converted {
        tracing::warn!(
            file = %path.display(),
            reason,
            "space that is deleted in this file will be reused, but not returned to the disk: \
             docs/operations.md has the command that converts it"
        );
    }
}

fn vacuum(connection: &Connection, path: &Path) -> std::result::Result<(), String> {
    let bytes = (|| Ok(pages(connection, "page_count")? * pages(connection, "page_size")?))()
        .map_err(|error| describe(&error))?;
    let disk = free_bytes_of_disk(path).map_err(|error| error.to_string())?;
    why_not_converted(bytes, disk).map_or(Ok(()), Err)?;
    let vacuum = || {
        keep_movable(connection)?;
        connection.execute_batch("VACUUM")
    };
    vacuum().map_err(|error: rusqlite::Error| describe(&error))
}

/// `None` if a file of this size may be converted.
fn why_not_converted(file_bytes: u64, free_bytes: u64) -> Option<String> {
    if file_bytes > CONVERTED_BYTES_MAX {
        return Some(format!("it is larger than {} MiB", CONVERTED_BYTES_MAX >> 20));
    }
    if free_bytes < file_bytes.saturating_mul(CONVERSION_COPIES) {
        return Some(format!("the disk has less than {CONVERSION_COPIES} times its size free"));
    }
    None
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::super::file::{log_of, open};
    use super::*;

    const ROWS: i64 = 200;

    /// A file with a table of 200 rows of 20 kB.
    fn filled(connection: &Connection) {
        connection
            .execute_batch("CREATE TABLE blobs (id INTEGER PRIMARY KEY, bytes BLOB)")
            .expect("the table should be created");
        for _ in 0..ROWS {
            let sql = "INSERT INTO blobs (bytes) VALUES (?1)";
            connection
                .execute(sql, params![vec![1_u8; 20_000]])
                .expect("the row should be inserted");
        }
    }

    fn file_bytes(connection: &Connection, path: &Path) -> u64 {
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .expect("the checkpoint should succeed");
        std::fs::metadata(path).expect("the file should exist").len()
    }

    #[test]
    fn the_file_of_deleted_rows_shrinks_in_steps() {
        let directory = tempfile::tempdir().expect("a temporary directory should be created");
        let path = directory.path().join("a.db");
        std::fs::File::create(&path).expect("the file should be created");
        let connection = open(&path).expect("the file should open");
        filled(&connection);
        let full = file_bytes(&connection, &path);
        connection.execute("DELETE FROM blobs", []).expect("the rows should be deleted");
        let free = pages(&connection, "freelist_count").expect("the pragma should be read");
        assert!(free > 900, "{free} pages");
        assert_eq!(free_bytes(&connection), Ok(free * 4_096));
        let left = give_back(&connection, 400).expect("the first step should succeed");
        assert_eq!(left, free - 400);
        assert_eq!(pages(&connection, "freelist_count"), Ok(left));
        assert_eq!(give_back(&connection, free), Ok(0));
        let shrunk = file_bytes(&connection, &path);
        assert!(shrunk < full / 50, "{shrunk} of {full} bytes");
    }

    #[test]
    fn a_file_of_an_earlier_version_is_converted_and_keeps_its_rows() {
        let directory = tempfile::tempdir().expect("a temporary directory should be created");
        let path = directory.path().join("a.db");
        let connection = Connection::open(&path).expect("the file should open");
        filled(&connection);
        drop(connection);
        let connection = open(&path).expect("the file should open");
        assert_eq!(is_movable(&connection), Ok(false));
        convert(&connection, &path);
        assert_eq!(is_movable(&connection), Ok(true));
        let rows: i64 = connection
            .query_row("SELECT count(*) FROM blobs", [], |row| row.get(0))
            .expect("the rows should be counted");
        assert_eq!(rows, ROWS);
        assert!(log_of(&path).exists());
    }

    #[test]
    fn a_large_file_or_a_full_disk_is_not_converted_and_the_reason_is_reported() {
        assert_eq!(why_not_converted(CONVERTED_BYTES_MAX, u64::MAX), None);
        let large = why_not_converted(CONVERTED_BYTES_MAX + 1, u64::MAX);
        assert!(large.is_some_and(|reason| reason.contains("256 MiB")));
        let full = why_not_converted(1_000, 1_999);
        assert!(full.is_some_and(|reason| reason.contains("2 times its size")));
    }
}
