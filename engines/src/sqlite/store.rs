//! The store on SQLite: activities and dead letters.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use trailpad_common::failure::Unavailable;
use trailpad_common::store::{
    DeadLetter, Inserted, MemberQuery, NewActivity, Resolution, ResolvedMember, Store, StoreError,
};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::data_dir::DataDir;
use super::error::store_error;
use super::file::Database;
use super::insert::insert;

const RESOLVE: &str = "
SELECT w.project_id, w.creator_id, m.id AS member_id, m.ended_at
FROM webhooks w
JOIN projects p ON p.id = w.project_id
LEFT JOIN members m ON m.workspace_id = p.workspace_id AND m.email = ?2
WHERE w.id = ?1
";

/// A later dead letter of the same id overwrites the stored one and is open again: it is the same
/// activity after a replay, or another one that was posted under the same Idempotency-Key.
const ARCHIVE: &str = "
INSERT INTO dead_letters (id, webhook_id, external_id, received_at, traceparent, attempts, reason,
                          error, payload, dead_at, stored_at, member_email, replaces)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (id) DO UPDATE
SET webhook_id = excluded.webhook_id, external_id = excluded.external_id,
    replaces = excluded.replaces, member_email = excluded.member_email,
    received_at = excluded.received_at, traceparent = excluded.traceparent,
    attempts = excluded.attempts, reason = excluded.reason, error = excluded.error,
    payload = excluded.payload, dead_at = excluded.dead_at, replayed_at = NULL, discarded_at = NULL
WHERE dead_letters.dead_at < excluded.dead_at
";

const OPEN: &str = "
SELECT count(*) FROM (
    SELECT 1 FROM dead_letter_states
    WHERE replayed_at IS NULL AND discarded_at IS NULL AND NOT settled LIMIT ?1
)
";

pub struct SqliteStore {
    database: Database,
}

impl SqliteStore {
    /// # Errors
    /// The file can't be opened, or has the schema of another version.
    pub fn open(directory: &DataDir) -> std::result::Result<Self, Unavailable> {
        Ok(Self { database: Database::new(directory.open_store()?) })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn resolve(
        &self,
        queries: &[MemberQuery],
    ) -> std::result::Result<Vec<Option<Resolution>>, StoreError> {
        let resolved: Result<Vec<_>> = self
            .database
            .with(|connection| queries.iter().map(|query| resolve(connection, query)).collect());
        resolved.map_err(|error| store_error(&error))
    }

    async fn insert(&self, batch: &[NewActivity<'_>]) -> std::result::Result<Inserted, StoreError> {
        let stored = self.database.with(|connection| {
            let transaction = connection.transaction()?;
            let inserted = insert(&transaction, batch)?;
            transaction.commit()?;
            Ok(inserted)
        });
        stored.map_err(|error: rusqlite::Error| store_error(&error))
    }

    async fn archive_dead_letters(
        &self,
        dead: &[DeadLetter],
    ) -> std::result::Result<(), StoreError> {
        let archived = self.database.with(|connection| {
            let transaction = connection.transaction()?;
            let stored_at = Timestamp::now().unix_micros();
            dead.iter().try_for_each(|letter| archive(&transaction, letter, stored_at))?;
            transaction.commit()
        });
        archived.map_err(|error| store_error(&error))
    }

    async fn open_dead_letters(&self, count_max: u32) -> std::result::Result<u64, StoreError> {
        let count = self.database.with(|connection| {
            connection.prepare_cached(OPEN)?.query_row([count_max], |row| row.get::<_, i64>(0))
        });
        count.map(|count| u64::try_from(count).unwrap_or(0)).map_err(|error| store_error(&error))
    }
}

fn resolve(connection: &Connection, query: &MemberQuery) -> Result<Option<Resolution>> {
    let email = query.email.as_ref().map(|email| email.as_str());
    connection
        .prepare_cached(RESOLVE)?
        .query_row(params![query.webhook_id.uuid(), email], resolution)
        .optional()
}

fn resolution(row: &Row<'_>) -> Result<Resolution> {
    let ended_at = row.get::<_, Option<i64>>("ended_at")?.map(Timestamp::from_unix_micros);
    let member = row.get::<_, Option<Uuid>>("member_id")?;
    Ok(Resolution {
        project_id: row.get::<_, Uuid>("project_id")?.into(),
        creator_id: row.get::<_, Uuid>("creator_id")?.into(),
        member: member.map(|id| ResolvedMember { id: id.into(), ended_at }),
    })
}

fn archive(connection: &Connection, letter: &DeadLetter, stored_at: i64) -> Result<()> {
    connection.prepare_cached(ARCHIVE)?.execute(params![
        letter.id.uuid(),
        letter.webhook_id.map(|id| id.uuid()),
        letter.external_id,
        letter.received_at.map(Timestamp::unix_micros),
        letter.traceparent,
        letter.attempts,
        letter.reason.as_str(),
        letter.error,
        letter.payload,
        letter.dead_at.unix_micros(),
        stored_at,
        letter.member_email.as_ref().map(|email| email.as_str()),
        letter.replaces,
    ])?;
    Ok(())
}
