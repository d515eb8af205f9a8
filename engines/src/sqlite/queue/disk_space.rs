//! How much free space the disk must have before an activity is accepted.

use std::path::{Path, PathBuf};

/// Bytes that the store may need for each byte of a waiting message: the row, its indexes and its
/// share of the write-ahead log.
const STORE_BYTES_PER_QUEUED: u64 = 3;

/// The disk of the data directory.
pub(super) struct DiskSpace {
    path: PathBuf,
    free_bytes_min: u64,
}

impl DiskSpace {
    pub fn new(path: &Path, free_bytes_min: u64) -> Self {
        Self { path: path.to_owned(), free_bytes_min }
    }

    /// Whether activities may be accepted while messages of so many bytes are waiting. Once they
    /// are refused it takes a little more to accept them again, so that nothing flutters.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn check(&self, queued_bytes: u64, is_refusing: bool) -> Result<(), String> {
        let free = free_bytes(&self.path)
            .map_err(|error| format!("the free space of {}: {error}", self.path.display()))?;
        let more = if is_refusing { self.free_bytes_min / 8 } else { 0 };
        let needed = needed_bytes(self.free_bytes_min, queued_bytes).saturating_add(more);
        if free >= needed {
            return Ok(());
        }
        Err(format!(
            "the disk of {} has {} free, and {} are kept for storing what is accepted",
            self.path.display(),
            mib(free),
            mib(needed)
        ))
    }
}

/// What has to be free, so that what is waiting can always be stored.
fn needed_bytes(free_bytes_min: u64, queued_bytes: u64) -> u64 {
    free_bytes_min.saturating_add(queued_bytes.saturating_mul(STORE_BYTES_PER_QUEUED))
}

fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_free_grows_with_what_is_waiting() {
        assert_eq!(needed_bytes(100, 0), 100);
        assert_eq!(needed_bytes(100, 10), 100 + 10 * STORE_BYTES_PER_QUEUED);
        assert_eq!(needed_bytes(100, u64::MAX), u64::MAX);
    }

    #[test]
    fn a_refusal_names_the_place_and_both_amounts() {
        let room = DiskSpace::new(&std::env::temp_dir(), u64::MAX);
        let why = room.check(0, false).expect_err("never so much is free");
        assert!(why.contains("MiB free") && why.contains(&*std::env::temp_dir().to_string_lossy()));
        assert_eq!(DiskSpace::new(&std::env::temp_dir(), 0).check(0, true), Ok(()));
    }
}
