//! The composition root: the only place that chooses engines.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trailpad_common::admin::{ActivityQueries, Admin, DeadLetterAdmin, Retention, SignIn};
use trailpad_common::queue::Queue;
use trailpad_common::store::Store;
use trailpad_common::traffic::TrafficLog;
use trailpad_common::webhook::WebhookFeed;
use trailpad_engines::postgres::{self, PostgresAdmin, PostgresStore, PostgresWebhookFeed};
use trailpad_engines::rabbitmq::RabbitQueue;
use trailpad_engines::sqlite::{
    DataDir, ServeLock, SqliteAdmin, SqliteQueue, SqliteStore, SqliteWebhookFeed,
};

use crate::config::{Engines, QueueEngine, StoreEngine};
use crate::error::Error;

impl Engines {
    /// The queue, as `role`, which publishes to the retries of these delays.
    pub fn queue(&self, role: &str, retry_delays: &[Duration]) -> Result<Arc<dyn Queue>, Error> {
        Ok(match &self.queue {
            QueueEngine::RabbitMq { url, queue } => {
                Arc::new(RabbitQueue::new(url.reveal(), queue, role, retry_delays)?)
            }
            QueueEngine::Sqlite { free_bytes_min } => {
                Arc::new(SqliteQueue::open(&self.data_dir, *free_bytes_min)?)
            }
        })
    }

    /// The queue, to publish to beside the process that serves it.
    pub fn queue_beside(&self, role: &str) -> Result<Arc<dyn Queue>, Error> {
        Ok(match &self.queue {
            QueueEngine::RabbitMq { .. } => self.queue(role, &[])?,
            QueueEngine::Sqlite { free_bytes_min } => {
                Arc::new(SqliteQueue::open_beside(&self.data_dir, *free_bytes_min)?)
            }
        })
    }

    /// The store, used by so many tasks at a time.
    pub fn store(&self, tasks: usize) -> Result<Arc<dyn Store>, Error> {
        Ok(match &self.store {
            StoreEngine::Postgres(config) => Arc::new(PostgresStore::new(config, tasks)),
            StoreEngine::Sqlite => Arc::new(SqliteStore::open(&self.data_dir)?),
        })
    }

    /// Where a gateway learns of webhooks.
    pub fn directory(&self) -> Result<Box<dyn WebhookFeed>, Error> {
        Ok(match &self.store {
            StoreEngine::Postgres(config) => Box::new(PostgresWebhookFeed::new((**config).clone())),
            StoreEngine::Sqlite => Box::new(SqliteWebhookFeed::open(&self.data_dir)?),
        })
    }

    /// Where traffic is written down.
    pub fn traffic(&self) -> Result<Arc<dyn TrafficLog>, Error> {
        Ok(match &self.store {
            StoreEngine::Postgres(config) => Arc::new(PostgresAdmin::new(config)),
            StoreEngine::Sqlite => Arc::new(SqliteAdmin::open(&self.data_dir)?),
        })
    }

    /// The store, as the dashboard uses it.
    pub fn dashboard(&self) -> Result<trailpad_dashboard::Stores, Error> {
        Ok(match &self.store {
            StoreEngine::Postgres(config) => stores(Arc::new(PostgresAdmin::new(config))),
            StoreEngine::Sqlite => stores(Arc::new(SqliteAdmin::open(&self.data_dir)?)),
        })
    }

    /// Where store and queue are, in words.
    pub fn places(&self) -> String {
        let file = |name: &str| self.data_dir.path().join(name).display().to_string();
        let store = match self.store {
            StoreEngine::Postgres(_) => "PostgreSQL".to_owned(),
            StoreEngine::Sqlite => file("store.db"),
        };
        let queue = match self.queue {
            QueueEngine::RabbitMq { .. } => "RabbitMQ".to_owned(),
            QueueEngine::Sqlite { .. } => file("queue.db"),
        };
        format!("{store}, {queue}")
    }

    /// The data directory, if the store is in it.
    pub fn store_dir(&self) -> Option<&Path> {
        matches!(self.store, StoreEngine::Sqlite).then(|| self.data_dir.path())
    }

    /// Brings every schema to this version; gives the names of the migrations that were applied.
    pub async fn migrate(&self, lock: &ServeLock) -> Result<Vec<String>, Error> {
        let mut applied = Vec::new();
        if let QueueEngine::Sqlite { .. } = self.queue {
            applied.extend(self.data_dir.migrate_queue(lock)?);
        }
        applied.extend(match &self.store {
            StoreEngine::Postgres(config) => postgres::migrate(config).await?,
            StoreEngine::Sqlite => self.data_dir.migrate_store(lock)?,
        });
        Ok(applied)
    }
}

fn stores<S: Admin + DeadLetterAdmin + SignIn + ActivityQueries + TrafficLog + 'static>(
    store: Arc<S>,
) -> trailpad_dashboard::Stores {
    trailpad_dashboard::Stores {
        admin: store.clone(),
        dead_letters: store.clone(),
        sign_in: store.clone(),
        arrivals: store.clone(),
        traffic: store,
    }
}

/// The administration of a store.
pub fn admin(store: &StoreEngine, data_dir: &DataDir) -> Result<Box<dyn Admin>, Error> {
    Ok(match store {
        StoreEngine::Postgres(config) => Box::new(PostgresAdmin::new(config)),
        StoreEngine::Sqlite => Box::new(SqliteAdmin::open(data_dir)?),
    })
}

/// Sign-in of a store.
pub fn sign_in(store: &StoreEngine, data_dir: &DataDir) -> Result<Box<dyn SignIn>, Error> {
    Ok(match store {
        StoreEngine::Postgres(config) => Box::new(PostgresAdmin::new(config)),
        StoreEngine::Sqlite => Box::new(SqliteAdmin::open(data_dir)?),
    })
}

/// The retention of a store.
pub fn retention(store: &StoreEngine, data_dir: &DataDir) -> Result<Box<dyn Retention>, Error> {
    Ok(match store {
        StoreEngine::Postgres(config) => Box::new(PostgresAdmin::new(config)),
        StoreEngine::Sqlite => Box::new(SqliteAdmin::open(data_dir)?),
    })
}

/// The dead letters of a store.
pub fn dead_letter_admin(
    store: &StoreEngine,
    data_dir: &DataDir,
) -> Result<Box<dyn DeadLetterAdmin>, Error> {
    Ok(match store {
        StoreEngine::Postgres(config) => Box::new(PostgresAdmin::new(config)),
        StoreEngine::Sqlite => Box::new(SqliteAdmin::open(data_dir)?),
    })
}
