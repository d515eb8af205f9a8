//! The store on PostgreSQL. The failures of activities are in `failures.rs`.
//!
//! Uses only typed, unnamed statements: they work through a transaction pooler, and each needs one
//! round trip.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Row};
use trailpad_common::failure::Unavailable;
use trailpad_common::id::ActivityId;
use trailpad_common::store::coalesce::coalesce;
use trailpad_common::store::{
    ClaimedRetry, DeadLetter, Inserted, MemberQuery, NewActivity, Refused, Resolution,
    ResolvedMember, RetryUsage, Store, StoreError, Stored, WaitingRetry,
};
use uuid::Uuid;

use super::connect::{Config, with_timeout};
use super::error::{Class, class_of, classify, describe_refusal, unavailable};
use super::failures;
use super::insert::{self, Changed, Refusal};
use super::lease::{Leases, Parameter, STATEMENT_TIMEOUT};

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts to store a batch that ends in a deadlock or a serialization failure.
const ATTEMPTS_MAX: usize = 10;

const RESOLVE: &str = "
SELECT q.ordinal, w.project_id, w.creator_id, m.id AS member_id, m.ended_at
FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS q(webhook_id, email, ordinal)
JOIN webhooks w ON w.id = q.webhook_id
JOIN projects p ON p.id = w.project_id
LEFT JOIN members m ON m.workspace_id = p.workspace_id AND m.email = q.email
";

const OPEN: &str = "
SELECT count(*) AS open FROM (
    SELECT FROM dead_letter_states
    WHERE replayed_at IS NULL AND discarded_at IS NULL AND NOT settled LIMIT $1
) open
";

const BEGIN_TRIAL: &str = "
INSERT INTO trials (activity_id, begun, begun_at) VALUES ($1, 1, now())
ON CONFLICT (activity_id) DO UPDATE SET begun = trials.begun + 1, begun_at = now()
RETURNING begun
";

const END_TRIAL: &str = "DELETE FROM trials WHERE activity_id = $1";

/// Inserts an activity like the last one that was stored, which a healthy store accepts, and rolls
/// back.
const PROBE: &str = "
BEGIN;
INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id, title,
                        start_time, received_at)
SELECT gen_random_uuid(), gen_random_uuid(), false, coalesce(last.webhook_id, gen_random_uuid()),
       coalesce(last.project_id, gen_random_uuid()), coalesce(last.member_id, gen_random_uuid()),
       'Probe', now(), now()
FROM (SELECT) one
LEFT JOIN (SELECT webhook_id, project_id, member_id FROM activities ORDER BY id DESC LIMIT 1) last
ON true;
ROLLBACK
";

pub struct PostgresStore {
    leases: Leases,
}

impl PostgresStore {
    /// Opens at most `connections` connections, on demand.
    pub fn new(config: &Config, connections: usize) -> Self {
        Self { leases: Leases::new(config, connections) }
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn resolve(
        &self,
        queries: &[MemberQuery],
    ) -> Result<Vec<Option<Resolution>>, Unavailable> {
        let webhooks: Vec<Uuid> = queries.iter().map(|query| query.webhook_id.uuid()).collect();
        let emails: Vec<Option<&str>> =
            queries.iter().map(|query| query.email.as_ref().map(|email| email.as_str())).collect();
        let parameters: &[Parameter<'_>] =
            &[(&webhooks, Type::UUID_ARRAY), (&emails, Type::TEXT_ARRAY)];
        let rows = self.leases.query(RESOLVE, parameters).await?;
        let found: HashMap<i64, Resolution> =
            rows.iter().map(|row| (row.get("ordinal"), resolution(row))).collect();
        // WITH ORDINALITY counts from 1.
        Ok((1..).zip(queries).map(|(ordinal, _)| found.get(&ordinal).cloned()).collect())
    }

    async fn insert(
        &self,
        batch: &[NewActivity<'_>],
        may_be_retries: bool,
    ) -> Result<Stored, StoreError> {
        let settled: Vec<Uuid> = if may_be_retries {
            batch.iter().map(|new| new.id.uuid()).collect()
        } else {
            Vec::new()
        };
        let rows = coalesce(batch);
        for _ in 0..ATTEMPTS_MAX {
            let mut lease = self.leases.lease().await?;
            let (client, cancel) = lease.client()?;
            let inserting = insert::insert(client, &rows, &settled);
            match with_timeout(STATEMENT_TIMEOUT, cancel, inserting).await {
                Err(too_slow) => return Err(self.too_slow(too_slow).await?),
                Ok(Ok(changed)) => {
                    lease.release();
                    return Ok(stored(batch, &changed, Vec::new()));
                }
                Ok(Err(error)) => match blame(&error) {
                    Class::Conflict => {}
                    Class::Unavailable => return Err(unavailable(&error).into()),
                    Class::Cancelled => return Err(self.too_slow(unavailable(&error)).await?),
                    Class::Data | Class::Suspicious => {
                        drop(lease);
                        return self.insert_one_by_one(batch, &settled).await;
                    }
                },
            }
        }
        Err(conflicts().into())
    }

    async fn record_failures(
        &self,
        retries: &[WaitingRetry],
        dead: &[DeadLetter],
    ) -> Result<(), Unavailable> {
        failures::record(&self.leases, retries, dead).await
    }

    async fn claim_retries(
        &self,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<ClaimedRetry>, Unavailable> {
        failures::claim(&self.leases, limit, lease).await
    }

    async fn release_retries(&self, ids: &[ActivityId]) -> Result<(), Unavailable> {
        failures::release(&self.leases, ids).await
    }

    async fn retry_usage(&self) -> Result<RetryUsage, Unavailable> {
        failures::usage(&self.leases).await
    }

    async fn begin_trial(&self, id: ActivityId) -> Result<u32, Unavailable> {
        let row = self.leases.query(BEGIN_TRIAL, &[(&id.uuid(), Type::UUID)]).await?;
        let begun: i32 = row.first().map_or(1, |row| row.get("begun"));
        Ok(u32::try_from(begun - 1).unwrap_or(0))
    }

    async fn end_trial(&self, id: ActivityId) -> Result<(), Unavailable> {
        self.leases.query(END_TRIAL, &[(&id.uuid(), Type::UUID)]).await?;
        Ok(())
    }

    /// The commit at the end waits for replication, as the commit of a batch does.
    async fn probe(&self) -> Result<(), Unavailable> {
        let mut lease = self.leases.lease().await?;
        let (client, cancel) = lease.client()?;
        let probing = async {
            client.batch_execute(PROBE).await?;
            client.query_typed(insert::WRITE_TO_LOG, &[]).await
        };
        let probed = with_timeout(PROBE_TIMEOUT, cancel, probing).await?;
        probed.map_err(|error| unavailable(&error))?;
        lease.release();
        Ok(())
    }

    async fn open_dead_letters(&self, count_max: u32) -> Result<u64, Unavailable> {
        let rows = self.leases.query(OPEN, &[(&i64::from(count_max), Type::INT8)]).await?;
        let count: i64 = rows.first().map_or(0, |row| row.get("open"));
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

impl PostgresStore {
    /// Stores a batch of which the store refuses something. The refused activities are at fault
    /// only if the store accepts others.
    async fn insert_one_by_one(
        &self,
        batch: &[NewActivity<'_>],
        settled: &[Uuid],
    ) -> Result<Stored, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut lease = self.leases.lease().await?;
            let (client, cancel) = lease.client()?;
            let inserting = insert::insert_one_by_one(client, batch, settled);
            let (changed, refusals) = match with_timeout(STATEMENT_TIMEOUT, cancel, inserting).await
            {
                Err(too_slow) => return Err(self.too_slow(too_slow).await?),
                Ok(Ok(outcome)) => outcome,
                Ok(Err(error)) => match class_of(&error) {
                    Class::Conflict => continue,
                    Class::Cancelled => return Err(self.too_slow(unavailable(&error)).await?),
                    _ => return Err(unavailable(&error).into()),
                },
            };
            lease.release();
            let classes = || refusals.iter().map(|refusal| classify(&refusal.sqlstate));
            if classes().any(|class| class == Class::Conflict) {
                continue;
            }
            let environment = refusals.iter().find(|refusal| {
                matches!(classify(&refusal.sqlstate), Class::Unavailable | Class::Cancelled)
            });
            if let Some(refusal) = environment {
                return Err(refusal_unavailable(refusal).into());
            }
            let nothing_passed = changed.stored + changed.replaced == 0;
            if nothing_passed && classes().any(|class| class == Class::Suspicious) {
                self.probe().await?;
            }
            return Ok(stored(batch, &changed, refusals.iter().map(refused).collect()));
        }
        Err(conflicts().into())
    }

    /// Decides about a statement that took too long: whether the batch is at fault, or the store.
    async fn too_slow(&self, error: Unavailable) -> Result<StoreError, Unavailable> {
        self.probe().await?;
        Ok(StoreError::TooSlow(error.to_string()))
    }
}

/// A concurrent transaction can insert an id between the check and the insert: the next attempt
/// sees its row.
fn blame(error: &Error) -> Class {
    let is_same_id = error.as_db_error().is_some_and(|error| {
        error.code() == &SqlState::UNIQUE_VIOLATION && error.constraint() == Some("activities_pkey")
    });
    if is_same_id { Class::Conflict } else { class_of(error) }
}

fn conflicts() -> Unavailable {
    Unavailable("PostgreSQL reported a transaction conflict on every attempt".into())
}

fn refusal_unavailable(refusal: &Refusal) -> Unavailable {
    Unavailable(describe_refusal(&refusal.sqlstate, refusal.refused_by.as_deref()))
}

fn refused(refusal: &Refusal) -> Refused {
    Refused {
        id: refusal.id,
        is_permanent: classify(&refusal.sqlstate) == Class::Data,
        error: describe_refusal(&refusal.sqlstate, refusal.refused_by.as_deref()),
    }
}

fn stored(batch: &[NewActivity<'_>], changed: &Changed, refused: Vec<Refused>) -> Stored {
    let Changed { stored, replaced } = *changed;
    let others = stored + replaced + refused.len() as u64;
    let duplicates = (batch.len() as u64).saturating_sub(others);
    Stored { inserted: Inserted { stored, replaced, duplicates }, refused }
}

fn resolution(row: &Row) -> Resolution {
    let member: Option<Uuid> = row.get("member_id");
    let ended_at: Option<DateTime<Utc>> = row.get("ended_at");
    Resolution {
        project_id: row.get::<_, Uuid>("project_id").into(),
        creator_id: row.get::<_, Uuid>("creator_id").into(),
        member: member
            .map(|id| ResolvedMember { id: id.into(), ended_at: ended_at.map(Into::into) }),
    }
}
