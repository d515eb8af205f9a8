//! The embedded engine: queue and store as two SQLite files in a data directory.
//!
//! One process serves a directory. Other processes may use the administration at the same time.
//! Every write transaction is immediate and short, and every read is one page, so no process blocks
//! another for long or delays a checkpoint.

mod admin;
mod backend;
mod backup;
mod data_dir;
mod disk;
mod error;
mod failures;
mod file;
mod free_pages;
mod insert;
mod look;
mod migrate;
mod queue;
mod store;
mod webhook_feed;

pub use backend::SqliteBackend;
pub use backup::{Backup, BackupError};
pub use data_dir::{DataDir, DataDirError, ServeLock};
