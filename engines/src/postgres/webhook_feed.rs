//! The directory's source: what changed among the webhooks, over a connection of its own.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deadpool_postgres::ClientWrapper;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::failure::Unavailable;
use trailpad_common::secret::SecretHash;
use trailpad_common::webhook::token::PublicId;
use trailpad_common::webhook::{RegistryChanges, WebhookFeed, WebhookRecord};
use uuid::Uuid;

use super::connect::{Config, in_time};
use super::error::unavailable;

/// For what changed; and for everything, which may be 30 MB over a slow link.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// One snapshot: the counter, and each webhook that changed since. Without a change, one row of
/// the counter alone.
const CHANGES: &str = "
SELECT d.revision AS directory_revision, w.id, w.public_id, w.secret_hash, w.previous_secret_hash,
       w.previous_valid_until, w.revoked_at IS NOT NULL AS revoked
FROM directory_revision d
LEFT JOIN webhooks w ON w.revision > $1
";

/// Asks PostgreSQL for changes. Connects when it is first asked, and again after an error.
pub struct PostgresWebhookFeed {
    config: Config,
    /// Dropping it closes the connection, whatever it is at.
    client: Option<ClientWrapper>,
}

impl PostgresWebhookFeed {
    /// A source that is not connected yet.
    pub fn new(config: Config) -> Self {
        Self { config, client: None }
    }

    async fn ask(&mut self, revision: i64) -> Result<Vec<Row>, Unavailable> {
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                let (client, driver) = self.config.connect().await?;
                ClientWrapper::new(client, driver)
            }
        };
        let limit = if revision == 0 { LOAD_TIMEOUT } else { REFRESH_TIMEOUT };
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&revision, Type::INT8)];
        let rows = client.query_typed(CHANGES, &parameters);
        let rows = in_time(limit, client.cancel_token(), rows).await?;
        let rows = rows.map_err(|error| unavailable(&error))?;
        // Kept only after a success.
        self.client = Some(client);
        Ok(rows)
    }
}

#[async_trait]
impl WebhookFeed for PostgresWebhookFeed {
    async fn changes_since(&mut self, revision: i64) -> Result<RegistryChanges, Unavailable> {
        let rows = self.ask(revision).await?;
        let counter = rows.first().map_or(revision, |row| row.get("directory_revision"));
        let webhooks = rows.iter().filter_map(record).collect();
        Ok(RegistryChanges { revision: counter, webhooks })
    }
}

/// The webhook of a row; none where nothing changed.
fn record(row: &Row) -> Option<WebhookRecord> {
    let id: Uuid = row.get::<_, Option<Uuid>>("id")?;
    let public_id = PublicId::parse(row.get("public_id")).ok()?;
    let secret_hash = SecretHash::from_bytes(row.get("secret_hash"))?;
    let previous_hash: Option<&[u8]> = row.get("previous_secret_hash");
    let valid_until: Option<DateTime<Utc>> = row.get("previous_valid_until");
    let previous = previous_hash.and_then(SecretHash::from_bytes).zip(valid_until.map(Into::into));
    Some(WebhookRecord {
        id: id.into(),
        public_id,
        secret_hash,
        previous,
        revoked: row.get("revoked"),
    })
}
