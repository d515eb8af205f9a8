//! The free disk space that is required to accept activities.

use std::path::{Path, PathBuf};

/// Bytes that the store may need per byte of a queued message: for the row, its index entries and
/// its part of the write-ahead log.
const STORE_BYTES_PER_QUEUED: u64 = 3;

/// Checks the disk that holds the data directory.
pub(super) struct DiskSpace {
    path: PathBuf,
    free_bytes_min: u64,
}

impl DiskSpace {
    pub fn new(path: &Path, free_bytes_min: u64) -> Self {
        Self { path: path.to_owned(), free_bytes_min }
    }

    /// Checks that activities may be accepted while `queued_bytes` of bodies are queued. While they
    /// are refused, the required space is larger by an eighth of the minimum, so that small changes
    /// don't alternate the result.
    ///
    /// # Errors
    /// The reason to refuse activities, as a text for an operator.
    pub fn check(&self, queued_bytes: u64, is_refusing: bool) -> Result<(), String> {
        let free = free_bytes(&self.path).map_err(|error| {
            format!("reading the free space of {}: {error}", self.path.display())
        })?;
        let margin = if is_refusing { self.free_bytes_min / 8 } else { 0 };
        let needed = needed_bytes(self.free_bytes_min, queued_bytes).saturating_add(margin);
        if free >= needed {
            return Ok(());
        }
        Err(format!(
            "the disk of {} has {} free, but {} are kept for storing accepted activities",
            self.path.display(),
            mib(free),
            mib(needed)
        ))
    }
}

/// The space that must be free so that all queued messages can be stored.
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
    fn the_required_space_grows_with_the_queued_bytes() {
        assert_eq!(needed_bytes(100, 0), 100);
        assert_eq!(needed_bytes(100, 10), 100 + 10 * STORE_BYTES_PER_QUEUED);
        assert_eq!(needed_bytes(100, u64::MAX), u64::MAX);
    }

    #[test]
    fn the_reason_names_the_directory_and_the_free_space() {
        let directory = std::env::temp_dir();
        let disk_space = DiskSpace::new(&directory, u64::MAX);
        let reason = disk_space.check(0, false).expect_err("no disk should have that much space");
        assert!(reason.contains("MiB free") && reason.contains(&*directory.to_string_lossy()));
        assert_eq!(DiskSpace::new(&directory, 0).check(0, true), Ok(()));
    }
}
