//! The statements that store a batch, row by row in one transaction.

use rusqlite::{Result, Transaction, params};
use trailpad_common::store::coalesce::{CoalescedRow, coalesce, replaces};
use trailpad_common::store::{Inserted, NewActivity};
use trailpad_common::timestamp::Timestamp;

const INSERT: &str = r#"
INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id, external_id,
                        title, description, start_time, end_time, "trigger", event, metadata, received_at,
                        stored_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
ON CONFLICT DO NOTHING
"#;

/// The same guard as PostgreSQL's: a content that replaces beats one that does not, and of those
/// that replace the newest wins.
const UPDATE: &str = r#"
UPDATE activities
SET content_id = ?1, replaces = 1, project_id = ?2, member_id = ?3, title = ?4, description = ?5,
    start_time = ?6, end_time = ?7, "trigger" = ?8, event = ?9, metadata = ?10, received_at = ?11
WHERE webhook_id = ?12 AND external_id = ?13 AND ?1 NOT IN (id, content_id)
  AND (NOT replaces OR (received_at, content_id) < (?11, ?1))
"#;

/// Stores a batch; the caller commits.
pub(super) fn insert(transaction: &Transaction<'_>, batch: &[NewActivity<'_>]) -> Result<Inserted> {
    let stored_at = Timestamp::now().unix_micros();
    let (mut stored, mut replaced) = (0, 0);
    for row in coalesce(batch) {
        let is_new = insert_row(transaction, &row, stored_at)?;
        stored += is_new;
        if is_new == 0 && replaces(row.content) {
            replaced += replace_row(transaction, row.content)?;
        }
    }
    let duplicates = (batch.len() as u64).saturating_sub(stored + replaced);
    Ok(Inserted { stored, replaced, duplicates })
}

fn insert_row(
    transaction: &Transaction<'_>,
    row: &CoalescedRow<'_, '_>,
    stored_at: i64,
) -> Result<u64> {
    let (new, activity) = (row.content, &row.content.activity);
    let changed = transaction.prepare_cached(INSERT)?.execute(params![
        row.id.uuid(),
        new.id.uuid(),
        replaces(new),
        new.webhook_id.uuid(),
        new.project_id.uuid(),
        new.member_id.uuid(),
        activity.external_id,
        activity.title,
        activity.description,
        activity.start_time.unix_micros(),
        activity.end_time.map(Timestamp::unix_micros),
        activity.trigger,
        activity.event,
        activity.metadata,
        new.received_at.unix_micros(),
        stored_at,
    ])?;
    Ok(changed as u64)
}

/// Without a key there is no row to be found, so nothing is replaced.
fn replace_row(transaction: &Transaction<'_>, new: &NewActivity<'_>) -> Result<u64> {
    let activity = &new.activity;
    let changed = transaction.prepare_cached(UPDATE)?.execute(params![
        new.id.uuid(),
        new.project_id.uuid(),
        new.member_id.uuid(),
        activity.title,
        activity.description,
        activity.start_time.unix_micros(),
        activity.end_time.map(Timestamp::unix_micros),
        activity.trigger,
        activity.event,
        activity.metadata,
        new.received_at.unix_micros(),
        new.webhook_id.uuid(),
        activity.external_id,
    ])?;
    Ok(changed as u64)
}
