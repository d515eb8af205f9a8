//! The directory's source: what changed among the webhooks.

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

/// One snapshot: the counter, and each webhook that changed since. Without a change, one row of
/// the counter alone.
const CHANGES: &str = "
SELECT d.revision, w.id, w.public_id, w.secret_hash, w.previous_secret_hash,
       w.previous_valid_until, w.revoked_at IS NOT NULL
FROM directory_revision d
LEFT JOIN webhooks w ON w.revision > ?1
";

/// Asks the store's file for changes. Readers of a WAL wait for nobody.
pub struct SqliteWebhookFeed {
    database: Database,
}

impl SqliteWebhookFeed {
    /// Opens the store of a data directory.
    ///
    /// # Errors
    /// It can't be opened, or has another version's schema.
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
        changes.revision = row.get(0)?;
        changes.webhooks.extend(record(row)?);
    }
    Ok(changes)
}

/// The webhook of a row; none where nothing changed.
fn record(row: &Row<'_>) -> Result<Option<WebhookRecord>> {
    let Some(id) = row.get::<_, Option<Uuid>>(1)? else { return Ok(None) };
    let public_id = PublicId::parse(row.get_ref(2)?.as_str()?).ok();
    let secret_hash = SecretHash::from_bytes(row.get_ref(3)?.as_blob()?);
    let previous_hash = row.get_ref(4)?.as_blob_or_null()?.and_then(SecretHash::from_bytes);
    let valid_until = row.get::<_, Option<i64>>(5)?.map(Timestamp::from_unix_micros);
    let (previous, revoked) = (previous_hash.zip(valid_until), row.get(6)?);
    let known = public_id.zip(secret_hash);
    Ok(known.map(|(public_id, secret_hash)| WebhookRecord {
        id: id.into(),
        public_id,
        secret_hash,
        previous,
        revoked,
    }))
}
