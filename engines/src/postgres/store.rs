//! The store on PostgreSQL: activities and dead letters.
//!
//! Uses only typed, unnamed statements: they work through a transaction pooler, and each needs one
//! round trip.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Pool};
use tokio_postgres::CancelToken;
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::email::Email;
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::dead_letter::last_deaths;
use trailpad_common::store::{
    DeadLetter, Inserted, MemberQuery, NewActivity, Resolution, ResolvedMember, Store, StoreError,
};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::connect::{Config, get, with_timeout};
use super::error::{is_conflict, store_error};
use super::insert;

/// A statement that takes longer is cancelled, and the store counts as unavailable.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Attempts to store a batch that ends in a deadlock or a serialization failure.
const ATTEMPTS_MAX: usize = 10;

const RESOLVE: &str = "
SELECT q.ordinal, w.project_id, w.creator_id, m.id AS member_id, m.ended_at
FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS q(webhook_id, email, ordinal)
JOIN webhooks w ON w.id = q.webhook_id
JOIN projects p ON p.id = w.project_id
LEFT JOIN members m ON m.workspace_id = p.workspace_id AND m.email = q.email
";

/// A later dead letter of the same id overwrites the stored one and is open again: it is the same
/// activity after a replay, or another one that was posted under the same Idempotency-Key.
const ARCHIVE: &str = "
INSERT INTO dead_letters (id, webhook_id, external_id, received_at, traceparent, attempts, reason,
                          error, payload, dead_at, member_email, replaces)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::text[], $6::int[],
                     $7::text[], $8::text[], $9::bytea[], $10::timestamptz[], $11::text[],
                     $12::bool[])
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
    SELECT FROM dead_letter_states
    WHERE replayed_at IS NULL AND discarded_at IS NULL AND NOT settled LIMIT $1
) open
";

type Parameter<'p> = (&'p (dyn ToSql + Sync), Type);

pub struct PostgresStore {
    pool: Pool,
}

impl PostgresStore {
    /// Opens at most `connections` connections, on demand.
    pub fn new(config: &Config, connections: usize) -> Self {
        Self { pool: config.unchecked_pool(connections) }
    }

    async fn lease(&self) -> Result<Lease, Unavailable> {
        Ok(Lease(Some(get(&self.pool).await?)))
    }
}

/// A pooled connection that returns to the pool only if it is released. Otherwise it failed or is
/// still busy with a statement, and is discarded.
struct Lease(Option<Object>);

impl Lease {
    /// Returns the connection, and a token that cancels its statement.
    fn client(&mut self) -> Result<(&mut Object, CancelToken), Unavailable> {
        let released = || Unavailable("the connection was released".into());
        let client = self.0.as_mut().ok_or_else(released)?;
        let cancel = client.cancel_token();
        Ok((client, cancel))
    }

    fn release(mut self) {
        self.0.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.take().map(Object::take);
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn resolve(
        &self,
        queries: &[MemberQuery],
    ) -> Result<Vec<Option<Resolution>>, StoreError> {
        let webhooks: Vec<Uuid> = queries.iter().map(|query| query.webhook_id.uuid()).collect();
        let emails: Vec<Option<&str>> =
            queries.iter().map(|query| query.email.as_ref().map(|email| email.as_str())).collect();
        let parameters: &[Parameter<'_>] =
            &[(&webhooks, Type::UUID_ARRAY), (&emails, Type::TEXT_ARRAY)];
        let mut lease = self.lease().await?;
        let (client, cancel) = lease.client()?;
        let result = client.query_typed(RESOLVE, parameters);
        let result = with_timeout(STATEMENT_TIMEOUT, cancel, result).await?;
        let rows = result.map_err(|error| store_error(&error))?;
        lease.release();
        let found: HashMap<i64, Resolution> =
            rows.iter().map(|row| (row.get("ordinal"), resolution(row))).collect();
        // WITH ORDINALITY counts from 1.
        Ok((1..).zip(queries).map(|(ordinal, _)| found.get(&ordinal).cloned()).collect())
    }

    async fn insert(&self, batch: &[NewActivity<'_>]) -> Result<Inserted, StoreError> {
        let mut lease = self.lease().await?;
        for _ in 0..ATTEMPTS_MAX {
            let (client, cancel) = lease.client()?;
            match with_timeout(STATEMENT_TIMEOUT, cancel, insert::insert(client, batch)).await? {
                Ok(inserted) => {
                    lease.release();
                    return Ok(inserted);
                }
                Err(error) if is_conflict(&error) => {}
                Err(error) => {
                    let error = store_error(&error);
                    if matches!(error, StoreError::Refused(_)) {
                        lease.release();
                    }
                    return Err(error);
                }
            }
        }
        Err(Unavailable("PostgreSQL reported a transaction conflict on every attempt".into())
            .into())
    }

    async fn archive_dead_letters(&self, dead: &[DeadLetter]) -> Result<(), StoreError> {
        let dead = last_deaths(dead);
        let ids: Vec<Uuid> = dead.iter().map(|letter| letter.id.uuid()).collect();
        let webhooks: Vec<Option<Uuid>> =
            dead.iter().map(|letter| letter.webhook_id.map(|id| id.uuid())).collect();
        let external_ids: Vec<Option<&str>> =
            dead.iter().map(|letter| letter.external_id.as_deref()).collect();
        let received: Vec<Option<DateTime<Utc>>> =
            dead.iter().map(|letter| letter.received_at.map(Timestamp::to_datetime)).collect();
        let traceparents: Vec<Option<&str>> =
            dead.iter().map(|letter| letter.traceparent.as_deref()).collect();
        let attempts: Vec<i32> =
            dead.iter().map(|letter| i32::try_from(letter.attempts).unwrap_or(i32::MAX)).collect();
        let reasons: Vec<&str> = dead.iter().map(|letter| letter.reason.as_str()).collect();
        let errors: Vec<&str> = dead.iter().map(|letter| letter.error.as_str()).collect();
        let payloads: Vec<&[u8]> = dead.iter().map(|letter| letter.payload.as_slice()).collect();
        let members: Vec<Option<&str>> =
            dead.iter().map(|letter| letter.member_email.as_ref().map(Email::as_str)).collect();
        let replaces: Vec<bool> = dead.iter().map(|letter| letter.replaces).collect();
        let dead_at: Vec<DateTime<Utc>> =
            dead.iter().map(|letter| letter.dead_at.to_datetime()).collect();
        let parameters: &[Parameter<'_>] = &[
            (&ids, Type::UUID_ARRAY),
            (&webhooks, Type::UUID_ARRAY),
            (&external_ids, Type::TEXT_ARRAY),
            (&received, Type::TIMESTAMPTZ_ARRAY),
            (&traceparents, Type::TEXT_ARRAY),
            (&attempts, Type::INT4_ARRAY),
            (&reasons, Type::TEXT_ARRAY),
            (&errors, Type::TEXT_ARRAY),
            (&payloads, Type::BYTEA_ARRAY),
            (&dead_at, Type::TIMESTAMPTZ_ARRAY),
            (&members, Type::TEXT_ARRAY),
            (&replaces, Type::BOOL_ARRAY),
        ];
        let mut lease = self.lease().await?;
        let (client, cancel) = lease.client()?;
        let result = client.execute_typed(ARCHIVE, parameters);
        let result = with_timeout(STATEMENT_TIMEOUT, cancel, result).await?;
        result.map_err(|error| store_error(&error))?;
        lease.release();
        Ok(())
    }

    async fn open_dead_letters(&self, count_max: u32) -> Result<u64, StoreError> {
        let parameters: &[Parameter<'_>] = &[(&i64::from(count_max), Type::INT8)];
        let mut lease = self.lease().await?;
        let (client, cancel) = lease.client()?;
        let result = client.query_typed_one(OPEN, parameters);
        let result = with_timeout(STATEMENT_TIMEOUT, cancel, result).await?;
        let row = result.map_err(|error| store_error(&error))?;
        lease.release();
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }
}

fn resolution(row: &tokio_postgres::Row) -> Resolution {
    let member: Option<Uuid> = row.get("member_id");
    let ended_at: Option<DateTime<Utc>> = row.get("ended_at");
    Resolution {
        project_id: row.get::<_, Uuid>("project_id").into(),
        creator_id: row.get::<_, Uuid>("creator_id").into(),
        member: member
            .map(|id| ResolvedMember { id: id.into(), ended_at: ended_at.map(Into::into) }),
    }
}
