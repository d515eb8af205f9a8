//! The SQLite engine as one value that hands out the ports of store and queue.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trailpad_common::admin::Administration;
use trailpad_common::failure::{Unavailable, chain};
use trailpad_common::queue::{Queue, QueueBackend};
use trailpad_common::store::{Store, StoreBackend};
use trailpad_common::webhook::WebhookFeed;

use super::admin::SqliteAdmin;
use super::data_dir::{DataDir, DataDirError, ServeLock};
use super::migrate::{QUEUE, STORE, Schema};
use super::queue::SqliteQueue;
use super::store::SqliteStore;
use super::webhook_feed::SqliteWebhookFeed;

/// The SQLite store and queue engine. Opens a file whenever it hands out a port.
pub struct SqliteBackend {
    data_dir: DataDir,
    free_bytes_min: u64,
    /// `None` in a process that does not serve the directory.
    lock: Option<ServeLock>,
}

impl SqliteBackend {
    /// For a command that may run while another process serves the directory.
    pub fn new(data_dir: DataDir, free_bytes_min: u64) -> Self {
        Self { data_dir, free_bytes_min, lock: None }
    }

    /// For the process that serves the directory: locks it until the value is dropped.
    ///
    /// # Errors
    /// Another process serves the directory, or it can't be created or locked.
    pub fn serving(data_dir: DataDir, free_bytes_min: u64) -> Result<Self, DataDirError> {
        let lock = Some(data_dir.lock()?);
        Ok(Self { data_dir, free_bytes_min, lock })
    }

    pub fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    fn migrate(&self, schema: &Schema) -> Result<Vec<String>, Unavailable> {
        let migrate = || match &self.lock {
            Some(lock) => self.data_dir.migrate(schema, lock),
            None => self.data_dir.migrate(schema, &self.data_dir.lock()?),
        };
        migrate().map_err(|error: DataDirError| Unavailable(chain(&error)))
    }

    fn path_of(&self, schema: &Schema) -> String {
        self.data_dir.path().join(schema.file).display().to_string()
    }
}

#[async_trait]
impl StoreBackend for SqliteBackend {
    fn store(&self, _connections: usize) -> Result<Arc<dyn Store>, Unavailable> {
        Ok(Arc::new(SqliteStore::open(&self.data_dir)?))
    }

    fn webhook_feed(&self) -> Result<Box<dyn WebhookFeed>, Unavailable> {
        Ok(Box::new(SqliteWebhookFeed::open(&self.data_dir)?))
    }

    fn administration(&self) -> Result<Arc<dyn Administration>, Unavailable> {
        Ok(Arc::new(SqliteAdmin::open(&self.data_dir)?))
    }

    async fn migrate(&self) -> Result<Vec<String>, Unavailable> {
        self.migrate(&STORE)
    }

    fn describe(&self) -> String {
        self.path_of(&STORE)
    }
}

#[async_trait]
impl QueueBackend for SqliteBackend {
    fn queue(&self, _: &str, _: &[Duration]) -> Result<Arc<dyn Queue>, Unavailable> {
        Ok(Arc::new(SqliteQueue::open(&self.data_dir, self.free_bytes_min)?))
    }

    fn queue_for_command(&self, _command: &str) -> Result<Arc<dyn Queue>, Unavailable> {
        Ok(Arc::new(SqliteQueue::open_for_command(&self.data_dir, self.free_bytes_min)?))
    }

    async fn migrate(&self) -> Result<Vec<String>, Unavailable> {
        self.migrate(&QUEUE)
    }

    fn describe(&self) -> String {
        self.path_of(&QUEUE)
    }
}
