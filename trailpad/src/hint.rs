//! Commands for hints, in a form that can be copied and run.

use crate::args::StoreArgs;

/// The path by which this program was called.
pub fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "trailpad".to_owned())
}

/// A command line for the same data directory.
pub fn command(store: &StoreArgs, words: &str) -> String {
    match &store.data_dir {
        Some(path) => format!("{} {words} --data-dir {}", program(), path.display()),
        None => format!("{} {words}", program()),
    }
}
