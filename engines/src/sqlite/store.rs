//! The store on SQLite. The failures of activities are in `failures.rs`.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use trailpad_common::failure::Unavailable;
use trailpad_common::id::ActivityId;
use trailpad_common::store::{
    ClaimedRetry, DeadLetter, MemberQuery, NewActivity, Resolution, ResolvedMember, RetryUsage,
    Store, StoreError, Stored, WaitingRetry,
};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::data_dir::DataDir;
use super::error::unavailable;
use super::failures;
use super::file::Database;
use super::insert::insert;

const RESOLVE: &str = "
SELECT w.project_id, w.creator_id, m.id AS member_id, m.ended_at
FROM webhooks w
JOIN projects p ON p.id = w.project_id
LEFT JOIN members m ON m.workspace_id = p.workspace_id AND m.email = ?2
WHERE w.id = ?1
";

const OPEN: &str = "
SELECT count(*) FROM (
    SELECT 1 FROM dead_letter_states
    WHERE replayed_at IS NULL AND discarded_at IS NULL AND NOT settled LIMIT ?1
)
";

const BEGIN_TRIAL: &str = "
INSERT INTO trials (activity_id, begun, begun_at) VALUES (?1, 1, ?2)
ON CONFLICT (activity_id) DO UPDATE SET begun = begun + 1, begun_at = excluded.begun_at
RETURNING begun
";

const PROBE: &str = "
INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id, title,
                        start_time, received_at, stored_at)
VALUES (?1, ?1, 0, ?1, ?1, ?1, 'Probe', ?2, ?2, ?2)
";

pub struct SqliteStore {
    database: Database,
}

impl SqliteStore {
    /// # Errors
    /// The file can't be opened, or has the schema of another version.
    pub fn open(directory: &DataDir) -> Result<Self, Unavailable> {
        Ok(Self { database: Database::new(directory.open_store()?) })
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn resolve(
        &self,
        queries: &[MemberQuery],
    ) -> Result<Vec<Option<Resolution>>, Unavailable> {
        self.with(|connection| queries.iter().map(|query| resolve(connection, query)).collect())
    }

    async fn insert(
        &self,
        batch: &[NewActivity<'_>],
        may_be_retries: bool,
    ) -> Result<Stored, StoreError> {
        let stored = self.with(|connection| {
            let mut transaction = connection.transaction()?;
            let stored = insert(&mut transaction, batch)?;
            if may_be_retries {
                failures::delete_retries(&transaction, batch, &stored.refused)?;
            }
            transaction.commit()?;
            Ok(stored)
        });
        Ok(stored?)
    }

    async fn record_failures(
        &self,
        retries: &[WaitingRetry],
        dead: &[DeadLetter],
    ) -> Result<(), Unavailable> {
        self.with(|connection| failures::record(connection, retries, dead))
    }

    async fn claim_retries(
        &self,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<ClaimedRetry>, Unavailable> {
        self.with(|connection| failures::claim(connection, limit, lease))
    }

    async fn release_retries(&self, ids: &[ActivityId]) -> Result<(), Unavailable> {
        self.with(|connection| failures::release(connection, ids))
    }

    async fn retry_usage(&self) -> Result<RetryUsage, Unavailable> {
        self.with(|connection| failures::usage(connection))
    }

    async fn begin_trial(&self, id: ActivityId) -> Result<u32, Unavailable> {
        let now = Timestamp::now().unix_micros();
        let begun = self.with(|connection| {
            let mut statement = connection.prepare_cached(BEGIN_TRIAL)?;
            statement.query_row(params![id.uuid(), now], |row| row.get::<_, u32>("begun"))
        })?;
        Ok(begun.saturating_sub(1))
    }

    async fn end_trial(&self, id: ActivityId) -> Result<(), Unavailable> {
        self.with(|connection| {
            connection.execute("DELETE FROM trials WHERE activity_id = ?1", [id.uuid()]).map(|_| ())
        })
    }

    async fn probe(&self) -> Result<(), Unavailable> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            transaction
                .prepare_cached(PROBE)?
                .execute(params![Uuid::now_v7(), Timestamp::now().unix_micros()])?;
            transaction.rollback()
        })
    }

    async fn open_dead_letters(&self, count_max: u32) -> Result<u64, Unavailable> {
        let count = self.with(|connection| {
            connection.prepare_cached(OPEN)?.query_row([count_max], |row| row.get::<_, i64>(0))
        })?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

impl SqliteStore {
    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Unavailable> {
        self.database.with(work).map_err(|error| unavailable(&error))
    }
}

fn resolve(connection: &Connection, query: &MemberQuery) -> rusqlite::Result<Option<Resolution>> {
    let email = query.email.as_ref().map(|email| email.as_str());
    connection
        .prepare_cached(RESOLVE)?
        .query_row(params![query.webhook_id.uuid(), email], resolution)
        .optional()
}

fn resolution(row: &Row<'_>) -> rusqlite::Result<Resolution> {
    let ended_at = row.get::<_, Option<i64>>("ended_at")?.map(Timestamp::from_unix_micros);
    let member = row.get::<_, Option<Uuid>>("member_id")?;
    Ok(Resolution {
        project_id: row.get::<_, Uuid>("project_id")?.into(),
        creator_id: row.get::<_, Uuid>("creator_id")?.into(),
        member: member.map(|id| ResolvedMember { id: id.into(), ended_at }),
    })
}
