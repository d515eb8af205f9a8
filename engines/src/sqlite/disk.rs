//! The disk that holds the data directory.

use std::path::Path;

/// The free space of the disk that holds `path`.
pub(super) fn free_bytes_of_disk(path: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
