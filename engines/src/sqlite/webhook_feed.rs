//! The webhook feed on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, Result, Row};
use trailpad_common::failure::Unavailable;
use trailpad_common::secret::SecretHash;
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::token::PublicId;
use trailpad_common::webhook::{RegistryChanges, WebhookFeed, WebhookRecord};
use uuid::Uuid;

use super::data_dir::DataDir;
use super::error::unavailable;
use super::file::Database;

/// Reads the counter and each changed webhook in one snapshot. Without changes, the only row holds
/// the counter and nulls.
const CHANGES: &str = "
SELECT d.revision AS directory_revision, w.id, w.public_id, w.secret_hash, w.previous_secret_hash,
       w.previous_valid_until, w.revoked_at IS NOT NULL AS revoked
FROM directory_revision d
LEFT JOIN webhooks w ON w.revision > ?1
";

/// Reads the file of the store. In WAL mode a reader waits for no writer.
pub struct SqliteWebhookFeed {
    database: Database,
}

impl SqliteWebhookFeed {
    /// # Errors
    /// The file can't be opened, or has the schema of another version.
    pub fn open(directory: &DataDir) -> std::result::Result<Self, Unavailable> {
        Ok(Self { database: Database::new(directory.open_store()?) })
    }
}

#[async_trait]
impl WebhookFeed for SqliteWebhookFeed {
    async fn changes_since(
        &mut self,
        revision: i64,
    ) -> std::result::Result<RegistryChanges, Unavailable> {
        self.database
            .with(|connection| changes(connection, revision))
            .map_err(|error| unavailable(&error))
    }
}

fn changes(connection: &Connection, since: i64) -> Result<RegistryChanges> {
    let mut statement = connection.prepare_cached(CHANGES)?;
    let mut rows = statement.query([since])?;
    let mut changes = RegistryChanges { revision: since, webhooks: Vec::new() };
    while let Some(row) = rows.next()? {
        changes.revision = row.get("directory_revision")?;
        changes.webhooks.extend(record(row)?);
    }
    Ok(changes)
}

/// `None` for the row without a webhook, which means that nothing changed.
fn record(row: &Row<'_>) -> Result<Option<WebhookRecord>> {
    let Some(id) = row.get::<_, Option<Uuid>>("id")? else { return Ok(None) };
    let public_id = PublicId::parse(row.get_ref("public_id")?.as_str()?).ok();
    let secret_hash = SecretHash::from_bytes(row.get_ref("secret_hash")?.as_blob()?);
    let previous_hash = row.get_ref("previous_secret_hash")?.as_blob_or_null()?;
    let valid_until =
        row.get::<_, Option<i64>>("previous_valid_until")?.map(Timestamp::from_unix_micros);
    let previous = previous_hash.and_then(SecretHash::from_bytes).zip(valid_until);
    let revoked = row.get("revoked")?;
    Ok(public_id.zip(secret_hash).map(|(public_id, secret_hash)| WebhookRecord {
        id: id.into(),
        public_id,
        secret_hash,
        previous,
        revoked,
    }))
}
