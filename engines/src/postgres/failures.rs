//! Waiting retries and dead letters on PostgreSQL. Due times use the clock of the server.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};
use trailpad_common::email::Email;
use trailpad_common::failure::Unavailable;
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::queue::dead_letter::last_deaths;
use trailpad_common::runtime::trace::TraceContext;
use trailpad_common::store::{ClaimedRetry, DeadLetter, RetryUsage, WaitingRetry};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::connect::with_timeout;
use super::error::{Class, class_of, unavailable};
use super::lease::{Leases, STATEMENT_TIMEOUT};

/// A later attempt overwrites an earlier one. An attempt that was recorded already is left as it
/// is: it may be claimed.
const WRITE_RETRIES: &str = "
INSERT INTO retries (id, webhook_id, member_email, reason, error, attempt, received_at, traceparent,
                     activity, failed_at, due_at)
SELECT id, webhook_id, member_email, reason, error, attempt, received_at, traceparent, activity,
       now(), now() + delay_seconds * interval '1 second'
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::int[],
            $7::timestamptz[], $8::text[], $9::bytea[], $10::float8[])
     AS r(id, webhook_id, member_email, reason, error, attempt, received_at, traceparent, activity,
          delay_seconds)
ON CONFLICT (id) DO UPDATE
SET member_email = excluded.member_email, reason = excluded.reason, error = excluded.error,
    attempt = excluded.attempt, received_at = excluded.received_at, activity = excluded.activity,
    traceparent = excluded.traceparent, failed_at = excluded.failed_at, due_at = excluded.due_at,
    lost_claims = 0
WHERE retries.attempt < excluded.attempt
";

/// A later dead letter of the same id overwrites the stored one and is open again: it is the same
/// activity after a replay, or another one that was posted under the same Idempotency-Key. One that
/// died in the future was written while a clock was wrong, so any other overwrites it.
const WRITE_DEAD_LETTERS: &str = "
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
   OR dead_letters.dead_at > now() + interval '1 hour'
";

/// A dead activity waits for no retry and has no open trial.
const FORGET: &str = "
WITH ended AS (DELETE FROM trials WHERE activity_id = ANY($1::uuid[]))
DELETE FROM retries WHERE id = ANY($1::uuid[])
";

/// A row that failed in the future was written while the clock was wrong, so it is due too. The
/// first row is claimed whatever its size; together they keep within about 1 MiB.
const CLAIM: &str = "
WITH due AS (
    SELECT id, due_at, octet_length(activity) AS bytes FROM retries
    WHERE due_at <= now() OR failed_at > now()
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
), summed AS (
    SELECT id, sum(bytes) OVER (ORDER BY due_at, id) - bytes AS bytes_before FROM due
)
UPDATE retries r
SET due_at = now() + $2 * interval '1 second', failed_at = least(r.failed_at, now()),
    lost_claims = r.lost_claims + 1
FROM summed WHERE r.id = summed.id AND bytes_before < 1048576
RETURNING r.id, webhook_id, attempt, received_at, traceparent, activity, lost_claims
";

const RELEASE: &str = "
UPDATE retries SET due_at = now(), lost_claims = greatest(lost_claims - 1, 0)
WHERE id = ANY($1::uuid[])
";

const USAGE: &str = "
SELECT webhook_id, count(*) AS count, sum(octet_length(activity))::int8 AS bytes
FROM retries GROUP BY webhook_id
";

/// Writes all in one transaction, or each in its own if one of them is refused.
pub(super) async fn record(
    leases: &Leases,
    retries: &[WaitingRetry],
    dead: &[DeadLetter],
) -> Result<(), Unavailable> {
    let retries: Vec<&WaitingRetry> = retries.iter().collect();
    let dead = last_deaths(dead);
    match write(leases, &retries, &dead).await? {
        Ok(()) => return Ok(()),
        Err(error) if may_be_of_a_row(&error) => {}
        Err(error) => return Err(unavailable(&error)),
    }
    for retry in retries {
        let without_member = WaitingRetry { member_email: None, ..retry.clone() };
        let whole = write(leases, &[retry], &[]).await?;
        or_reduced(whole, write(leases, &[&without_member], &[])).await?;
    }
    for letter in dead {
        // What only helps to find it may be what the store refuses.
        let reduced = DeadLetter { external_id: None, member_email: None, ..letter.clone() };
        let whole = write(leases, &[], &[letter]).await?;
        or_reduced(whole, write(leases, &[], &[&reduced])).await?;
    }
    Ok(())
}

async fn or_reduced(
    whole: Result<(), Error>,
    reduced: impl Future<Output = Result<Result<(), Error>, Unavailable>>,
) -> Result<(), Unavailable> {
    match whole {
        Ok(()) => Ok(()),
        Err(error) if may_be_of_a_row(&error) => {
            reduced.await?.map_err(|error| unavailable(&error))
        }
        Err(error) => Err(unavailable(&error)),
    }
}

fn may_be_of_a_row(error: &Error) -> bool {
    matches!(class_of(error), Class::Data | Class::Suspicious)
}

async fn write(
    leases: &Leases,
    retries: &[&WaitingRetry],
    dead: &[&DeadLetter],
) -> Result<Result<(), Error>, Unavailable> {
    let mut lease = leases.lease().await?;
    let (client, cancel) = lease.client()?;
    let written = write_in_transaction(client, retries, dead);
    let written = with_timeout(STATEMENT_TIMEOUT, cancel, written).await?;
    if written.is_ok() {
        lease.release();
    }
    Ok(written)
}

async fn write_in_transaction(
    client: &mut Object,
    retries: &[&WaitingRetry],
    dead: &[&DeadLetter],
) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    if !retries.is_empty() {
        write_retries(transaction.client(), retries).await?;
    }
    if !dead.is_empty() {
        write_dead_letters(transaction.client(), dead).await?;
        let ids: Vec<Uuid> = dead.iter().map(|letter| letter.id.uuid()).collect();
        transaction.execute_typed(FORGET, &[(&ids, Type::UUID_ARRAY)]).await?;
    }
    // A repeat may change nothing, and relies on rows whose replication it must wait for.
    transaction.query_typed(super::insert::WRITE_TO_LOG, &[]).await?;
    transaction.commit().await
}

async fn write_retries(client: &Client, retries: &[&WaitingRetry]) -> Result<(), Error> {
    let ids: Vec<Uuid> = retries.iter().map(|retry| retry.id.uuid()).collect();
    let webhooks: Vec<Uuid> = retries.iter().map(|retry| retry.webhook_id.uuid()).collect();
    let members: Vec<Option<&str>> =
        retries.iter().map(|retry| retry.member_email.as_ref().map(Email::as_str)).collect();
    let reasons: Vec<&str> = retries.iter().map(|retry| retry.reason.as_str()).collect();
    let errors: Vec<&str> = retries.iter().map(|retry| retry.error.as_str()).collect();
    let attempts: Vec<i32> =
        retries.iter().map(|retry| i32::try_from(retry.attempt).unwrap_or(i32::MAX)).collect();
    let received: Vec<DateTime<Utc>> =
        retries.iter().map(|retry| retry.received_at.to_datetime()).collect();
    let traceparents: Vec<Option<String>> =
        retries.iter().map(|retry| retry.traceparent.map(|trace| trace.to_string())).collect();
    let activities: Vec<&[u8]> = retries.iter().map(|retry| retry.activity.as_bytes()).collect();
    let delays: Vec<f64> = retries.iter().map(|retry| retry.delay.as_secs_f64()).collect();
    let parameters: &[(&(dyn ToSql + Sync), Type)] = &[
        (&ids, Type::UUID_ARRAY),
        (&webhooks, Type::UUID_ARRAY),
        (&members, Type::TEXT_ARRAY),
        (&reasons, Type::TEXT_ARRAY),
        (&errors, Type::TEXT_ARRAY),
        (&attempts, Type::INT4_ARRAY),
        (&received, Type::TIMESTAMPTZ_ARRAY),
        (&traceparents, Type::TEXT_ARRAY),
        (&activities, Type::BYTEA_ARRAY),
        (&delays, Type::FLOAT8_ARRAY),
    ];
    client.execute_typed(WRITE_RETRIES, parameters).await?;
    Ok(())
}

async fn write_dead_letters(client: &Client, dead: &[&DeadLetter]) -> Result<(), Error> {
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
    let parameters: &[(&(dyn ToSql + Sync), Type)] = &[
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
    client.execute_typed(WRITE_DEAD_LETTERS, parameters).await?;
    Ok(())
}

pub(super) async fn claim(
    leases: &Leases,
    limit: u32,
    lease: Duration,
) -> Result<Vec<ClaimedRetry>, Unavailable> {
    let limit = i64::from(limit);
    let parameters: &[(&(dyn ToSql + Sync), Type)] =
        &[(&limit, Type::INT8), (&lease.as_secs_f64(), Type::FLOAT8)];
    let rows = leases.query(CLAIM, parameters).await?;
    Ok(rows.iter().map(claimed).collect())
}

fn claimed(row: &Row) -> ClaimedRetry {
    let attempt: i32 = row.get("attempt");
    let lost_claims: i32 = row.get("lost_claims");
    let traceparent: Option<&str> = row.get("traceparent");
    ClaimedRetry {
        id: row.get::<_, Uuid>("id").into(),
        webhook_id: row.get::<_, Uuid>("webhook_id").into(),
        attempt: u32::try_from(attempt).unwrap_or(1),
        received_at: row.get::<_, DateTime<Utc>>("received_at").into(),
        traceparent: traceparent.and_then(TraceContext::parse),
        activity: String::from_utf8_lossy(row.get("activity")).into_owned(),
        // The claim that returns this row is in the number.
        lost_claims: u32::try_from(lost_claims - 1).unwrap_or(0),
    }
}

pub(super) async fn release(leases: &Leases, ids: &[ActivityId]) -> Result<(), Unavailable> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    leases.query(RELEASE, &[(&ids, Type::UUID_ARRAY)]).await?;
    Ok(())
}

pub(super) async fn usage(leases: &Leases) -> Result<RetryUsage, Unavailable> {
    let rows = leases.query(USAGE, &[]).await?;
    let number = |row: &Row, name: &str| u64::try_from(row.get::<_, i64>(name)).unwrap_or(0);
    let bytes_by_webhook: HashMap<WebhookId, u64> = rows
        .iter()
        .map(|row| (row.get::<_, Uuid>("webhook_id").into(), number(row, "bytes")))
        .collect();
    Ok(RetryUsage {
        bytes: bytes_by_webhook.values().sum(),
        count: rows.iter().map(|row| number(row, "count")).sum(),
        bytes_by_webhook,
    })
}
