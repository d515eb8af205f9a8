//! The PostgreSQL engine as one value that hands out its ports.

use std::sync::Arc;

use async_trait::async_trait;
use trailpad_common::admin::Administration;
use trailpad_common::check::{CheckError, StoreUser};
use trailpad_common::failure::Unavailable;
use trailpad_common::store::{Store, StoreBackend};
use trailpad_common::webhook::WebhookFeed;

use super::admin::PostgresAdmin;
use super::check::check;
use super::connect::Config;
use super::migrate::migrate;
use super::store::PostgresStore;
use super::url::BadUrl;
use super::webhook_feed::PostgresWebhookFeed;

/// The PostgreSQL store engine. Each port connects when it is first used.
pub struct PostgresBackend {
    config: Config,
}

impl PostgresBackend {
    /// `role` is shown in `pg_stat_activity`.
    ///
    /// # Errors
    /// `url` is not a PostgreSQL URL.
    pub fn new(url: &str, role: &str) -> Result<Self, BadUrl> {
        Ok(Self { config: Config::parse(url, role)? })
    }
}

#[async_trait]
impl StoreBackend for PostgresBackend {
    fn store(&self, connections: usize) -> Result<Arc<dyn Store>, Unavailable> {
        Ok(Arc::new(PostgresStore::new(&self.config, connections)))
    }

    fn webhook_feed(&self) -> Result<Box<dyn WebhookFeed>, Unavailable> {
        Ok(Box::new(PostgresWebhookFeed::new(self.config.clone())))
    }

    fn administration(&self) -> Result<Arc<dyn Administration>, Unavailable> {
        Ok(Arc::new(PostgresAdmin::new(&self.config)))
    }

    async fn migrate(&self) -> Result<Vec<String>, Unavailable> {
        migrate(&self.config).await
    }

    async fn check(&self, user: StoreUser) -> Result<(), CheckError> {
        check(&self.config, user).await
    }

    fn describe(&self) -> String {
        "PostgreSQL".to_owned()
    }
}
