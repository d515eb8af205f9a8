//! Watches the size of the write-ahead logs.

use crate::sqlite::data_dir::DataDir;
use crate::sqlite::file::LOG_BYTES_KEPT;

/// A log of this size is reported: 64 MiB. Checkpoints keep it near 4 MiB.
const REPORTED_BYTES: u64 = 4 * LOG_BYTES_KEPT;

/// Reports a log that only grows.
///
/// A checkpoint moves the log into the file, but only up to the snapshot of the oldest reader
/// (sqlite.org/wal.html, "Avoiding Excessively Large WAL Files"). So a reader that keeps its
/// transaction open makes the log grow until the disk is full.
pub(super) struct LogSize {
    directory: DataDir,
    /// The files that were reported and are still large.
    reported: Vec<&'static str>,
}

impl LogSize {
    pub fn new(directory: DataDir) -> Self {
        Self { directory, reported: Vec::new() }
    }

    /// Logs each change from small to large and back.
    pub fn check(&mut self) {
        for (file, bytes) in self.directory.log_bytes() {
            let was_reported = self.reported.contains(&file);
            let is_large = is_large(bytes, was_reported);
            if is_large && !was_reported {
                self.reported.push(file);
                tracing::warn!(
                    file,
                    bytes,
                    "the write-ahead log grows: a process keeps a transaction of this file open"
                );
            } else if !is_large && was_reported {
                self.reported.retain(|reported| *reported != file);
                tracing::info!(file, bytes, "the write-ahead log is small again");
            }
        }
    }
}

/// A reported log counts as large until it is truncated.
fn is_large(bytes: u64, was_reported: bool) -> bool {
    bytes > if was_reported { LOG_BYTES_KEPT } else { REPORTED_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_large_from_the_reported_size_until_it_is_truncated() {
        assert!(!is_large(REPORTED_BYTES, false));
        assert!(is_large(REPORTED_BYTES + 1, false));
        assert!(is_large(LOG_BYTES_KEPT + 1, true));
        assert!(!is_large(LOG_BYTES_KEPT, true));
    }
}
