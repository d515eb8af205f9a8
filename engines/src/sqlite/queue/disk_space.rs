//! The free disk space that is required to accept activities.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::sqlite::disk::free_bytes_of_disk;
use crate::sqlite::file::open_read_only;
use crate::sqlite::free_pages;
use crate::sqlite::migrate::STORE;

/// Bytes that the store may need per byte of a queued message: for the row, its index entries and
/// its part of the write-ahead log.
const STORE_BYTES_PER_QUEUED: u64 = 3;

/// Checks the disk that holds the data directory.
pub(super) struct DiskSpace {
    path: PathBuf,
    free_bytes_min: u64,
    /// Opened when the free pages of the store are needed first.
    store: Option<Connection>,
}

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// `true` if the disk has the space without the free pages of the files.
    pub has_disk_space: bool,
    /// The reason to refuse activities, as a text for an operator.
    pub accepts: Result<(), String>,
}

impl DiskSpace {
    pub fn new(path: &Path, free_bytes_min: u64) -> Self {
        Self { path: path.to_owned(), free_bytes_min, store: None }
    }

    /// Checks that activities may be accepted while `queued_bytes` of bodies are queued. While they
    /// are refused, the required space is larger by an eighth of the minimum, so that small changes
    /// don't alternate the result.
    ///
    /// The free pages of both files count as free, because new rows go there before the file grows.
    /// The writer returns those of the queue to the disk if the store needs the space.
    pub fn check(&mut self, queue: &Connection, queued_bytes: u64, is_refusing: bool) -> Verdict {
        let margin = if is_refusing { self.free_bytes_min / 8 } else { 0 };
        let needed = needed_bytes(self.free_bytes_min, queued_bytes).saturating_add(margin);
        let free = match free_bytes_of_disk(&self.path) {
            Ok(free) => free,
            Err(error) => {
                let path = self.path.display();
                let reason = format!("reading the free space of {path}: {error}");
                return Verdict { has_disk_space: true, accepts: Err(reason) };
            }
        };
        if free >= needed {
            return Verdict { has_disk_space: true, accepts: Ok(()) };
        }
        let in_files = free_pages::free_bytes(queue).unwrap_or(0) + self.free_bytes_of_store();
        Verdict { has_disk_space: false, accepts: self.verdict(free, in_files, needed) }
    }

    fn verdict(&self, free: u64, in_files: u64, needed: u64) -> Result<(), String> {
        if free.saturating_add(in_files) >= needed {
            return Ok(());
        }
        Err(format!(
            "the disk of {} has {} free, and the files have {}, but {} are kept for storing \
             accepted activities",
            self.path.display(),
            mib(free),
            mib(in_files),
            mib(needed)
        ))
    }

    /// Returns 0 if the store is another engine, or its file can't be read.
    fn free_bytes_of_store(&mut self) -> u64 {
        let path = self.path.join(STORE.file);
        let store = match self.store.take() {
            Some(store) => Ok(store),
            None => open_read_only(&path),
        };
        let read = store.and_then(|store| Ok((free_pages::free_bytes(&store)?, store)));
        match read {
            Ok((bytes, store)) => {
                self.store = Some(store);
                bytes
            }
            Err(_) => 0,
        }
    }
}

/// The space that must be free so that all queued messages can be stored.
fn needed_bytes(free_bytes_min: u64, queued_bytes: u64) -> u64 {
    free_bytes_min.saturating_add(queued_bytes.saturating_mul(STORE_BYTES_PER_QUEUED))
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_required_space_grows_with_the_queued_bytes() {
        assert_eq!(needed_bytes(100, 0), 100);
        assert_eq!(needed_bytes(100, 10), 100 + 10 * STORE_BYTES_PER_QUEUED);
        assert_eq!(needed_bytes(100, u64::MAX), u64::MAX);
    }

    #[test]
    fn the_reason_names_the_directory_and_the_free_space() {
        let directory = std::env::temp_dir();
        let queue = Connection::open_in_memory().expect("the database should open");
        let verdict = DiskSpace::new(&directory, u64::MAX).check(&queue, 0, false);
        assert!(!verdict.has_disk_space);
        let reason = verdict.accepts.expect_err("no disk should have that much space");
        assert!(reason.contains("MiB free") && reason.contains(&*directory.to_string_lossy()));
        let verdict = DiskSpace::new(&directory, 0).check(&queue, 0, true);
        assert_eq!(verdict, Verdict { has_disk_space: true, accepts: Ok(()) });
    }

    #[test]
    fn free_pages_of_the_files_count_as_free_space() {
        let disk_space = DiskSpace::new(Path::new("data"), 100);
        assert!(disk_space.verdict(60, 39, 100).is_err());
        assert_eq!(disk_space.verdict(60, 40, 100), Ok(()));
    }
}
