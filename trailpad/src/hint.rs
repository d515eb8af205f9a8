//! Commands that hints name: so that they can be run as they stand.

use crate::cli::StoreArgs;

/// This program, as it was called.
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "trailpad".to_owned())
}

/// A command on the same embedded files.
pub fn command(store: &StoreArgs, words: &str) -> String {
    match &store.data_dir {
        Some(path) => format!("{} {words} --data-dir {}", program(), path.display()),
        None => format!("{} {words}", program()),
    }
}
