//! The composition root: the only place that chooses engines.

use std::sync::Arc;

use trailpad_common::admin::Administration;
use trailpad_common::queue::QueueBackend;
use trailpad_common::store::StoreBackend;
use trailpad_engines::sqlite::SqliteBackend;

use crate::args::StoreArgs;
use crate::config::{self, EngineConfig, QueueConfig, StoreConfig};
use crate::error::Error;

/// The engines of a process.
pub struct Engines {
    pub store: Arc<dyn StoreBackend>,
    pub queue: Arc<dyn QueueBackend>,
}

impl Engines {
    /// The engines of a single role or of a command.
    pub fn new(config: EngineConfig) -> Self {
        let EngineConfig { store, queue, data_dir, free_bytes_min } = config;
        let files = SqliteBackend::new(data_dir, free_bytes_min);
        Self::choose(store, queue, files)
    }

    /// The engines of `serve`, which locks its data directory even if both engines are servers: the
    /// secrets of a first start go there.
    pub fn serving(config: EngineConfig) -> Result<Self, Error> {
        let EngineConfig { store, queue, data_dir, free_bytes_min } = config;
        let files = SqliteBackend::serving(data_dir, free_bytes_min)?;
        Ok(Self::choose(store, queue, files))
    }

    fn choose(store: StoreConfig, queue: QueueConfig, files: SqliteBackend) -> Self {
        let files = Arc::new(files);
        let store: Arc<dyn StoreBackend> = match store {
            StoreConfig::Postgres(postgres) => Arc::new(*postgres),
            StoreConfig::Files => files.clone(),
        };
        let queue: Arc<dyn QueueBackend> = match queue {
            QueueConfig::RabbitMq(rabbitmq) => Arc::new(*rabbitmq),
            QueueConfig::Files => files,
        };
        Self { store, queue }
    }

    /// Returns the names of the migrations that were applied.
    pub async fn migrate(&self) -> Result<Vec<String>, Error> {
        let mut applied = self.queue.migrate().await?;
        applied.extend(self.store.migrate().await?);
        Ok(applied)
    }

    /// Where store and queue are, for people.
    pub fn describe(&self) -> String {
        format!("{}, {}", self.store.describe(), self.queue.describe())
    }
}

/// The administration of the store that a command works on.
pub fn administration(args: &StoreArgs) -> Result<Arc<dyn Administration>, Error> {
    Ok(Engines::new(config::store_of_command(args)?).store.administration()?)
}
