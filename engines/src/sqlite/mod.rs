//! SQLite: queue and store as two files of a data directory, for a product without servers.
//!
//! One process serves a directory; others may look and change through [`SqliteAdmin`] meanwhile.
//! Every write transaction begins immediate and is short, and every read is a page, so nobody
//! keeps anybody waiting or holds up a checkpoint.

mod admin;
mod data_dir;
mod error;
mod file;
mod insert;
mod migrate;
mod queue;
mod store;
mod webhook_feed;

pub use admin::SqliteAdmin;
pub use data_dir::{DataDir, DataDirError, ServeLock};
pub use queue::SqliteQueue;
pub use store::SqliteStore;
pub use webhook_feed::SqliteWebhookFeed;
