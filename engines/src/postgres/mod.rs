//! The store engine for PostgreSQL: store, webhook feed and administration.

mod admin;
mod backend;
mod check;
mod connect;
mod encoding;
mod error;
mod failures;
mod hosts;
mod insert;
mod lease;
mod migrate;
mod store;
mod url;
mod webhook_feed;

pub use admin::PostgresAdmin;
pub use backend::PostgresBackend;
pub use connect::Config;
pub use migrate::migrate_files;
pub use store::PostgresStore;
pub use url::BadUrl;
