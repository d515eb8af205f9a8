//! PostgreSQL: store, directory source and administration.

mod admin;
mod connect;
mod error;
mod insert;
mod migrate;
mod store;
mod webhook_feed;

pub use admin::PostgresAdmin;
pub use connect::{BadUrl, Config};
pub use migrate::migrate;
pub use store::PostgresStore;
pub use webhook_feed::PostgresWebhookFeed;
