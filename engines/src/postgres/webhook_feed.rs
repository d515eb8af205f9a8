//! The webhook feed on PostgreSQL, over a dedicated connection.

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

use super::connect::{Config, with_timeout};
use super::error::unavailable;

/// For the changes since a revision.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);
/// For the complete registry, which may be 30 MB over a slow link.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the counter and each changed webhook in one snapshot. Without changes, the only row holds
/// the counter and nulls.
const CHANGES: &str = "
SELECT d.revision AS directory_revision, w.id, w.public_id, w.secret_hash, w.previous_secret_hash,
       w.previous_valid_until, w.revoked_at IS NOT NULL AS revoked
FROM directory_revision d
LEFT JOIN webhooks w ON w.revision > $1
";

/// Connects on the first query, and reconnects after an error.
pub struct PostgresWebhookFeed {
    config: Config,
    /// Dropping it closes the connection, even during a statement.
    client: Option<ClientWrapper>,
}

impl PostgresWebhookFeed {
    pub fn new(config: Config) -> Self {
        Self { config, client: None }
    }

    async fn query(&mut self, revision: i64) -> Result<Vec<Row>, Unavailable> {
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
        let rows = with_timeout(limit, client.cancel_token(), rows).await?;
        let rows = rows.map_err(|error| unavailable(&error))?;
        // Reused only after a success.
        self.client = Some(client);
        Ok(rows)
    }
}

#[async_trait]
impl WebhookFeed for PostgresWebhookFeed {
    async fn changes_since(&mut self, revision: i64) -> Result<RegistryChanges, Unavailable> {
        let rows = self.query(revision).await?;
        let counter = rows.first().map_or(revision, |row| row.get("directory_revision"));
        let webhooks = rows.iter().filter_map(record).collect();
        Ok(RegistryChanges { revision: counter, webhooks })
    }
}

/// `None` for the row without a webhook, which means that nothing changed.
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
