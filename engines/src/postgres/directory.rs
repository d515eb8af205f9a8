//! The directory's source: what changed among the webhooks, over a connection of its own.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use trailpad_common::failure::Unavailable;
use trailpad_common::ports::{DirectoryChanges, DirectorySource, WebhookRecord};
use trailpad_common::token::{PublicId, SecretHash};
use uuid::Uuid;

use super::connect::Config;
use super::error::unavailable;

const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);

/// One snapshot: the counter, and each webhook that changed since. Without a change, one row of
/// the counter alone.
const CHANGES: &str = "
SELECT d.revision AS directory_revision, w.id, w.public_id, w.secret_hash, w.previous_secret_hash,
       w.previous_valid_until, w.revoked_at IS NOT NULL AS revoked
FROM directory_revision d
LEFT JOIN webhooks w ON w.revision > $1
";

/// Asks PostgreSQL for changes. Connects when it is first asked, and again after an error.
pub struct PostgresDirectory {
    config: Config,
    client: Option<Client>,
}

impl PostgresDirectory {
    /// A source that is not connected yet.
    pub fn new(config: Config) -> Self {
        Self { config, client: None }
    }

    async fn ask(&mut self, revision: i64) -> Result<Vec<Row>, Unavailable> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.config.connect().await?.0,
        };
        let rows = client
            .query_typed(CHANGES, &[(&revision, Type::INT8)])
            .await
            .map_err(|error| unavailable(&error))?;
        // Kept only after a success.
        self.client = Some(client);
        Ok(rows)
    }
}

#[async_trait]
impl DirectorySource for PostgresDirectory {
    async fn changes_since(&mut self, revision: i64) -> Result<DirectoryChanges, Unavailable> {
        let rows = tokio::time::timeout(REFRESH_TIMEOUT, self.ask(revision))
            .await
            .map_err(|_| Unavailable("PostgreSQL did not answer in time".into()))??;
        let counter = rows.first().map_or(revision, |row| row.get("directory_revision"));
        let webhooks = rows.iter().filter_map(record).collect();
        Ok(DirectoryChanges { revision: counter, webhooks })
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
