//! A store engine: the factory of its ports.

use std::sync::Arc;

use async_trait::async_trait;

use super::Store;
use crate::admin::Administration;
use crate::check::{CheckError, StoreUser};
use crate::failure::Unavailable;
use crate::webhook::WebhookFeed;

/// Only the binary names an engine; all other crates get their ports from this trait.
///
/// `engines/README.md` describes how to write an engine.
#[async_trait]
pub trait StoreBackend: Send + Sync {
    /// Opens the store for a worker, with at most `connections` connections at a time.
    fn store(&self, connections: usize) -> Result<Arc<dyn Store>, Unavailable>;

    fn webhook_feed(&self) -> Result<Box<dyn WebhookFeed>, Unavailable>;

    fn administration(&self) -> Result<Arc<dyn Administration>, Unavailable>;

    /// Migrates the schema to the version of this code. Returns the names of the applied migrations.
    /// Several processes may migrate at the same time.
    async fn migrate(&self) -> Result<Vec<String>, Unavailable>;

    /// Checks the encoding, the version of the schema and the rights of `user`. An engine whose
    /// files are checked when they are opened has nothing to check.
    ///
    /// # Errors
    /// A fault that only a person can repair, or [`CheckError::Unavailable`]: check again later.
    async fn check(&self, _user: StoreUser) -> Result<(), CheckError> {
        Ok(())
    }

    /// The store's location, for people. Contains no secret.
    fn describe(&self) -> String;
}
