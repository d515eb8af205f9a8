//! The files of this repository.

use std::path::{Path, PathBuf};

/// The absolute path of a file, given relative to the root of the repository.
pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(relative)
}

pub fn read(relative: &str) -> String {
    let text = std::fs::read_to_string(path(relative));
    text.unwrap_or_else(|error| panic!("reading {relative} should succeed: {error}"))
}
