//! Dead letters in a file: list, count, mark.

use async_trait::async_trait;
use rusqlite::{Row, named_params, params};
use trailpad_common::admin::{
    Action, AdminError, BuriedLetter, DeadLetterAdmin, DeadLetterFilter, DeadLetterState, Page,
};
use trailpad_common::email::Email;
use trailpad_common::id::ActivityId;
use trailpad_common::instant::Instant;
use uuid::Uuid;

use super::{SqliteAdmin, away, execute, micros};

/// Which dead letters.
const MATCHING: &str = "
FROM dead_letter_states d
WHERE (:id IS NULL OR d.id = :id) AND (:webhook IS NULL OR d.webhook_id = :webhook)
  AND (:reason IS NULL OR d.reason = :reason) AND (:member IS NULL OR d.member_email = :member)
  AND (:dead_before IS NULL OR d.dead_at < :dead_before)
  AND (:workspace IS NULL OR d.webhook_id IN (
        SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project_id
        WHERE p.workspace_id = :workspace))
  AND (:with_ended OR (d.replayed_at IS NULL AND d.discarded_at IS NULL AND NOT d.settled))
";

const COLUMNS: &str = "
d.id, d.webhook_id, d.external_id, d.member_email, d.reason, d.error, d.attempts, d.received_at,
d.traceparent, d.dead_at, d.replayed_at IS NOT NULL, d.discarded_at IS NOT NULL, d.settled,
CASE WHEN :with_payload THEN d.payload END
";

const PAGE: &str = "
AND (d.dead_at, d.id) < (:after_at, :after_id)
ORDER BY d.dead_at DESC, d.id DESC
LIMIT :limit
";

/// A death after the replay is a new one, and stays open.
const REPLAY: &str = "UPDATE dead_letters SET replayed_at = ?2 WHERE id = ?1 AND dead_at <= ?2";
const DISCARD: &str = "UPDATE dead_letters SET discarded_at = ?2 WHERE id = ?1";
const RECORD: &str = "INSERT INTO dead_letter_actions (dead_letter_id, action, done_by, done_at)
                      VALUES (?1, ?2, ?3, ?4)";

#[async_trait]
impl DeadLetterAdmin for SqliteAdmin {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<Vec<BuriedLetter>, AdminError> {
        let (after_at, after_id) =
            page.after.map_or((i64::MAX, Uuid::max()), |(at, id)| (micros(at), id.uuid()));
        self.read(|connection| {
            let sql = format!("SELECT {COLUMNS} {MATCHING} {PAGE}");
            let mut statement = connection.prepare_cached(&sql).map_err(away)?;
            let values = named_params! {
                ":id": filter.id.map(|id| id.uuid()),
                ":webhook": filter.webhook_id.map(|id| id.uuid()),
                ":reason": filter.reason,
                ":member": filter.member_email.as_ref().map(Email::as_str),
                ":dead_before": filter.dead_before.map(micros),
                ":with_ended": filter.with_ended,
                ":workspace": filter.workspace_id.map(|id| id.uuid()),
                ":with_payload": page.with_payload,
                ":after_at": after_at,
                ":after_id": after_id,
                ":limit": page.limit,
            };
            let rows = statement.query_map(values, buried).map_err(away)?;
            rows.collect::<rusqlite::Result<_>>().map_err(away)
        })
    }

    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, AdminError> {
        self.read(|connection| {
            let values = named_params! {
                ":id": filter.id.map(|id| id.uuid()),
                ":webhook": filter.webhook_id.map(|id| id.uuid()),
                ":reason": filter.reason,
                ":member": filter.member_email.as_ref().map(Email::as_str),
                ":dead_before": filter.dead_before.map(micros),
                ":with_ended": filter.with_ended,
                ":workspace": filter.workspace_id.map(|id| id.uuid()),
            };
            let sql = format!("SELECT count(*) {MATCHING}");
            let count = connection.query_row(&sql, values, |row| row.get::<_, i64>(0));
            Ok(u64::try_from(count.map_err(away)?).unwrap_or(0))
        })
    }

    async fn mark_dead_letters(
        &self,
        ids: &[ActivityId],
        action: Action,
        by: &str,
    ) -> Result<(), AdminError> {
        let now = Instant::now();
        let (sql, at) = match action {
            Action::Replay { published_at } => (REPLAY, published_at),
            Action::Discard => (DISCARD, now),
        };
        self.write(|transaction| {
            for id in ids {
                execute(transaction, sql, params![id.uuid(), micros(at)])?;
                let record = params![id.uuid(), action.as_str(), by, micros(now)];
                execute(transaction, RECORD, record)?;
            }
            Ok(())
        })
    }
}

fn buried(row: &Row<'_>) -> rusqlite::Result<BuriedLetter> {
    let email = row.get_ref(3)?.as_str_or_null()?.map(Email::folded);
    Ok(BuriedLetter {
        id: row.get::<_, Uuid>(0)?.into(),
        webhook_id: row.get::<_, Option<Uuid>>(1)?.map(Into::into),
        external_id: row.get(2)?,
        member_email: email,
        reason: row.get(4)?,
        error: row.get(5)?,
        attempts: row.get(6)?,
        received_at: row.get::<_, Option<i64>>(7)?.map(Instant::from_unix_micros),
        traceparent: row.get(8)?,
        dead_at: Instant::from_unix_micros(row.get(9)?),
        state: DeadLetterState::of(row.get(12)?, row.get(10)?, row.get(11)?),
        payload: row.get(13)?,
    })
}
