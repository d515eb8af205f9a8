//! Waiting retries and dead letters on SQLite.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::{Connection, Result, Row, Transaction, params};
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::runtime::trace::TraceContext;
use trailpad_common::store::{
    ClaimedRetry, DeadLetter, NewActivity, Refused, RetryUsage, WaitingRetry,
};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::error::refusal;

/// The bytes of the retries that are claimed together, but for the last of them.
const CLAIM_BYTES_MAX: usize = 1 << 20;

/// A later attempt overwrites an earlier one. An attempt that was recorded already is left as it
/// is: it may be claimed.
const WRITE_RETRY: &str = "
INSERT INTO retries (id, webhook_id, member_email, reason, error, attempt, received_at, traceparent,
                     activity, failed_at, due_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
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
const WRITE_DEAD_LETTER: &str = "
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
   OR dead_letters.dead_at > excluded.stored_at + 3600000000
";

/// A row that failed in the future was written while the clock was wrong, so it is due too.
const CLAIM: &str = "
SELECT id, webhook_id, attempt, received_at, traceparent, activity, lost_claims FROM retries
WHERE due_at <= ?1 OR failed_at > ?1 ORDER BY due_at LIMIT ?2
";

const MARK_CLAIMED: &str = "
UPDATE retries SET due_at = ?2, failed_at = min(failed_at, ?3), lost_claims = lost_claims + 1
WHERE id = ?1
";

const RELEASE: &str =
    "UPDATE retries SET due_at = ?2, lost_claims = max(lost_claims - 1, 0) WHERE id = ?1";

const USAGE: &str = "
SELECT webhook_id, count(*) AS count, sum(length(activity)) AS bytes
FROM retries GROUP BY webhook_id
";

const DELETE_RETRY: &str = "DELETE FROM retries WHERE id = ?1";

pub(super) fn delete_retries(
    transaction: &Transaction<'_>,
    batch: &[NewActivity<'_>],
    refused: &[Refused],
) -> Result<()> {
    let is_refused = |id: ActivityId| refused.iter().any(|refused| refused.id == id);
    let mut statement = transaction.prepare_cached(DELETE_RETRY)?;
    for new in batch.iter().filter(|new| !is_refused(new.id)) {
        statement.execute([new.id.uuid()])?;
    }
    Ok(())
}

pub(super) fn record(
    connection: &mut Connection,
    retries: &[WaitingRetry],
    dead: &[DeadLetter],
) -> Result<()> {
    let mut transaction = connection.transaction()?;
    let now = Timestamp::now();
    for retry in retries {
        write_retry(&transaction, retry, now)?;
    }
    for letter in dead {
        // What only helps to find it may be what a trigger refuses.
        let reduced = || DeadLetter { external_id: None, member_email: None, ..letter.clone() };
        let savepoint = transaction.savepoint()?;
        match write_dead_letter(&savepoint, letter, now) {
            Ok(()) => savepoint.commit()?,
            Err(error) if refusal(&error).is_some() => {
                drop(savepoint);
                write_dead_letter(&transaction, &reduced(), now)?;
            }
            Err(error) => return Err(error),
        }
    }
    transaction.commit()
}

fn write_retry(connection: &Connection, retry: &WaitingRetry, now: Timestamp) -> Result<()> {
    connection.prepare_cached(WRITE_RETRY)?.execute(params![
        retry.id.uuid(),
        retry.webhook_id.uuid(),
        retry.member_email.as_ref().map(|email| email.as_str()),
        retry.reason.as_str(),
        retry.error,
        retry.attempt,
        retry.received_at.unix_micros(),
        retry.traceparent.map(|trace| trace.to_string()),
        retry.activity,
        now.unix_micros(),
        (now + retry.delay).unix_micros(),
    ])?;
    Ok(())
}

fn write_dead_letter(connection: &Connection, letter: &DeadLetter, now: Timestamp) -> Result<()> {
    connection.prepare_cached(WRITE_DEAD_LETTER)?.execute(params![
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
        now.unix_micros(),
        letter.member_email.as_ref().map(|email| email.as_str()),
        letter.replaces,
    ])?;
    // A dead activity waits for no retry and has no open trial.
    connection.prepare_cached(DELETE_RETRY)?.execute([letter.id.uuid()])?;
    connection.execute("DELETE FROM trials WHERE activity_id = ?1", [letter.id.uuid()])?;
    Ok(())
}

pub(super) fn claim(
    connection: &mut Connection,
    limit: u32,
    lease: Duration,
) -> Result<Vec<ClaimedRetry>> {
    let transaction = connection.transaction()?;
    let now = Timestamp::now();
    let mut claimed = Vec::new();
    {
        let mut statement = transaction.prepare_cached(CLAIM)?;
        let mut rows = statement.query(params![now.unix_micros(), limit])?;
        let mut bytes = 0;
        while bytes < CLAIM_BYTES_MAX
            && let Some(row) = rows.next()?
        {
            let retry = claimed_retry(row)?;
            bytes += retry.activity.len();
            claimed.push(retry);
        }
        let mut mark = transaction.prepare_cached(MARK_CLAIMED)?;
        let until = (now + lease).unix_micros();
        for retry in &claimed {
            mark.execute(params![retry.id.uuid(), until, now.unix_micros()])?;
        }
    }
    transaction.commit()?;
    Ok(claimed)
}

fn claimed_retry(row: &Row<'_>) -> Result<ClaimedRetry> {
    let traceparent: Option<String> = row.get("traceparent")?;
    Ok(ClaimedRetry {
        id: row.get::<_, Uuid>("id")?.into(),
        webhook_id: row.get::<_, Uuid>("webhook_id")?.into(),
        attempt: row.get("attempt")?,
        received_at: Timestamp::from_unix_micros(row.get("received_at")?),
        traceparent: traceparent.as_deref().and_then(TraceContext::parse),
        activity: row.get("activity")?,
        lost_claims: row.get("lost_claims")?,
    })
}

pub(super) fn release(connection: &mut Connection, ids: &[ActivityId]) -> Result<()> {
    let transaction = connection.transaction()?;
    let now = Timestamp::now().unix_micros();
    for id in ids {
        transaction.prepare_cached(RELEASE)?.execute(params![id.uuid(), now])?;
    }
    transaction.commit()
}

pub(super) fn usage(connection: &Connection) -> Result<RetryUsage> {
    let mut statement = connection.prepare_cached(USAGE)?;
    let mut rows = statement.query([])?;
    let mut usage = RetryUsage { bytes: 0, count: 0, bytes_by_webhook: HashMap::new() };
    while let Some(row) = rows.next()? {
        let webhook: WebhookId = row.get::<_, Uuid>("webhook_id")?.into();
        let bytes = u64::try_from(row.get::<_, i64>("bytes")?).unwrap_or(0);
        usage.count += u64::try_from(row.get::<_, i64>("count")?).unwrap_or(0);
        usage.bytes += bytes;
        usage.bytes_by_webhook.insert(webhook, bytes);
    }
    Ok(usage)
}
