//! Dead letters in PostgreSQL: list, count, mark.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::admin::{
    Action, AdminError, BuriedLetter, DeadLetterAdmin, DeadLetterFilter, DeadLetterState, Page,
};
use trailpad_common::email::Email;
use trailpad_common::id::ActivityId;
use trailpad_common::instant::Instant;
use uuid::Uuid;

use super::{PostgresAdmin, away};

/// Which dead letters.
const MATCHING: &str = "
FROM dead_letter_states d
WHERE ($1::uuid IS NULL OR d.id = $1) AND ($2::uuid IS NULL OR d.webhook_id = $2)
  AND ($3::text IS NULL OR d.reason = $3) AND ($4::text IS NULL OR d.member_email = $4)
  AND ($5::timestamptz IS NULL OR d.dead_at < $5)
  AND ($7::uuid IS NULL OR d.webhook_id IN (
        SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project_id
        WHERE p.workspace_id = $7))
  AND ($6 OR (d.replayed_at IS NULL AND d.discarded_at IS NULL AND NOT d.settled))
";

const COLUMNS: &str = "
d.id, d.webhook_id, d.external_id, d.member_email, d.reason, d.error, d.attempts, d.received_at,
d.traceparent, d.dead_at, d.replayed_at IS NOT NULL AS replayed,
d.discarded_at IS NOT NULL AS discarded, d.settled, CASE WHEN $11 THEN d.payload END AS payload
";

const PAGE: &str = "
AND ($8::timestamptz IS NULL OR (d.dead_at, d.id) < ($8, $9))
ORDER BY d.dead_at DESC, d.id DESC
LIMIT $10
";

/// A death after the replay is a new one, and stays open.
const REPLAY: &str = "
WITH marked AS (UPDATE dead_letters SET replayed_at = $2
                WHERE id = ANY ($1::uuid[]) AND dead_at <= $2 RETURNING id)
INSERT INTO dead_letter_actions (dead_letter_id, action, done_by, done_at)
SELECT id, $3, $4, now() FROM unnest($1::uuid[]) AS given(id)
";

const DISCARD: &str = "
WITH marked AS (UPDATE dead_letters SET discarded_at = $2 WHERE id = ANY ($1::uuid[]) RETURNING id)
INSERT INTO dead_letter_actions (dead_letter_id, action, done_by, done_at)
SELECT id, $3, $4, now() FROM marked
";

/// The values of a filter, in the order of [`MATCHING`].
struct Values<'a> {
    id: Option<Uuid>,
    webhook: Option<Uuid>,
    reason: Option<&'a str>,
    member: Option<&'a str>,
    dead_before: Option<DateTime<Utc>>,
    with_ended: bool,
    workspace: Option<Uuid>,
}

impl<'a> Values<'a> {
    fn of(filter: &'a DeadLetterFilter) -> Self {
        Self {
            id: filter.id.map(|id| id.uuid()),
            webhook: filter.webhook_id.map(|id| id.uuid()),
            reason: filter.reason.as_deref(),
            member: filter.member_email.as_ref().map(Email::as_str),
            dead_before: filter.dead_before.map(Instant::to_datetime),
            with_ended: filter.with_ended,
            workspace: filter.workspace_id.map(|id| id.uuid()),
        }
    }

    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.id, Type::UUID),
            (&self.webhook, Type::UUID),
            (&self.reason, Type::TEXT),
            (&self.member, Type::TEXT),
            (&self.dead_before, Type::TIMESTAMPTZ),
            (&self.with_ended, Type::BOOL),
            (&self.workspace, Type::UUID),
        ]
    }
}

#[async_trait]
impl DeadLetterAdmin for PostgresAdmin {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<Vec<BuriedLetter>, AdminError> {
        let values = Values::of(filter);
        let (after_at, after_id) = page.after.map(|(at, id)| (at.to_datetime(), id.uuid())).unzip();
        let limit = i64::from(page.limit);
        let mut parameters = values.parameters();
        parameters.extend([
            (&after_at as &(dyn ToSql + Sync), Type::TIMESTAMPTZ),
            (&after_id, Type::UUID),
            (&limit, Type::INT8),
            (&page.with_payload, Type::BOOL),
        ]);
        let sql = format!("SELECT {COLUMNS} {MATCHING} {PAGE}");
        let rows = self.client().await?.query_typed(&sql, &parameters).await.map_err(away)?;
        Ok(rows.iter().map(buried).collect())
    }

    async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, AdminError> {
        let sql = format!("SELECT count(*) {MATCHING}");
        let (client, values) = (self.client().await?, Values::of(filter));
        let row = client.query_typed_one(&sql, &values.parameters()).await.map_err(away)?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }

    async fn mark_dead_letters(
        &self,
        ids: &[ActivityId],
        action: Action,
        by: &str,
    ) -> Result<(), AdminError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let (sql, at) = match action {
            Action::Replay { published_at } => (REPLAY, published_at),
            Action::Discard => (DISCARD, Instant::now()),
        };
        let (at, name) = (at.to_datetime(), action.as_str());
        let parameters = [
            (&ids as &(dyn ToSql + Sync), Type::UUID_ARRAY),
            (&at, Type::TIMESTAMPTZ),
            (&name, Type::TEXT),
            (&by, Type::TEXT),
        ];
        self.client().await?.execute_typed(sql, &parameters).await.map_err(away)?;
        Ok(())
    }
}

fn buried(row: &Row) -> BuriedLetter {
    let instant = |column: &str| row.get::<_, Option<DateTime<Utc>>>(column).map(Instant::from);
    BuriedLetter {
        id: row.get::<_, Uuid>("id").into(),
        webhook_id: row.get::<_, Option<Uuid>>("webhook_id").map(Into::into),
        external_id: row.get("external_id"),
        member_email: row.get::<_, Option<&str>>("member_email").map(Email::folded),
        reason: row.get("reason"),
        error: row.get("error"),
        attempts: u32::try_from(row.get::<_, i32>("attempts")).unwrap_or(0),
        received_at: instant("received_at"),
        traceparent: row.get("traceparent"),
        dead_at: row.get::<_, DateTime<Utc>>("dead_at").into(),
        state: DeadLetterState::of(row.get("settled"), row.get("replayed"), row.get("discarded")),
        payload: row.get("payload"),
    }
}
