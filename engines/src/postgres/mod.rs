//! PostgreSQL: store, directory source and administration.

mod admin;
mod connect;
mod directory;
mod error;
mod insert;
mod migrate;
mod store;

pub use admin::PostgresAdmin;
pub use connect::{BadUrl, Config};
pub use directory::PostgresDirectory;
pub use migrate::migrate;
pub use store::PostgresStore;
