//! Dead letters on PostgreSQL: list, count, mark.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::admin::{
    Action, AdminError, DeadLetterAdmin, DeadLetterFilter, DeadLetterState, Page, StoredDeadLetter,
};
use trailpad_common::email::Email;
use trailpad_common::id::ActivityId;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{PostgresAdmin, optional_timestamp, store_unavailable, timestamp};

const OF_WORKSPACE: &str = "d.webhook_id IN (
    SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project_id
    WHERE p.workspace_id = $6)";

const OPEN: &str = "d.replayed_at IS NULL AND d.discarded_at IS NULL AND NOT d.settled";

const COLUMNS: &str = "
d.id, d.webhook_id, d.external_id, d.member_email, d.reason, d.error, d.attempts, d.received_at,
d.traceparent, d.dead_at, d.replayed_at IS NOT NULL AS replayed,
d.discarded_at IS NOT NULL AS discarded, d.settled, CASE WHEN $10 THEN d.payload END AS payload
";

const PAGE: &str = "
AND ($8::timestamptz IS NULL OR (d.dead_at, d.id) < ($8, $9))
ORDER BY d.dead_at DESC, d.id DESC
LIMIT $7
";

/// Leaves a dead letter open that failed again after the replay was published.
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

/// Builds the `FROM` and `WHERE` clauses with a condition only for each field that the filter sets,
/// so that PostgreSQL can use an index. The numbers are those of [`Values`].
fn matching(filter: &DeadLetterFilter) -> String {
    let conditions = [
        (filter.id.is_some(), "d.id = $1"),
        (filter.webhook_id.is_some(), "d.webhook_id = $2"),
        (filter.reason.is_some(), "d.reason = $3"),
        (filter.member_email.is_some(), "d.member_email = $4"),
        (filter.dead_before.is_some(), "d.dead_at < $5"),
        (filter.workspace_id.is_some(), OF_WORKSPACE),
        (!filter.with_ended, OPEN),
    ];
    let mut sql = "FROM dead_letter_states d WHERE true".to_owned();
    for (_, condition) in conditions.into_iter().filter(|(is_set, _)| *is_set) {
        sql.push_str(" AND ");
        sql.push_str(condition);
    }
    sql
}

/// `$1` to `$7`: the values of a filter, and the limit.
struct Values<'a> {
    id: Option<Uuid>,
    webhook: Option<Uuid>,
    reason: Option<&'a str>,
    member: Option<&'a str>,
    dead_before: Option<DateTime<Utc>>,
    workspace: Option<Uuid>,
    limit: i64,
}

impl<'a> Values<'a> {
    fn of(filter: &'a DeadLetterFilter, limit: u32) -> Self {
        Self {
            id: filter.id.map(|id| id.uuid()),
            webhook: filter.webhook_id.map(|id| id.uuid()),
            reason: filter.reason.as_deref(),
            member: filter.member_email.as_ref().map(Email::as_str),
            dead_before: filter.dead_before.map(Timestamp::to_datetime),
            workspace: filter.workspace_id.map(|id| id.uuid()),
            limit: i64::from(limit),
        }
    }

    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.id, Type::UUID),
            (&self.webhook, Type::UUID),
            (&self.reason, Type::TEXT),
            (&self.member, Type::TEXT),
            (&self.dead_before, Type::TIMESTAMPTZ),
            (&self.workspace, Type::UUID),
            (&self.limit, Type::INT8),
        ]
    }
}

#[async_trait]
impl DeadLetterAdmin for PostgresAdmin {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<Vec<StoredDeadLetter>, AdminError> {
        let values = Values::of(filter, page.limit);
        let (after_at, after_id) =
            page.after.map(|cursor| (cursor.at.to_datetime(), cursor.id.uuid())).unzip();
        let mut parameters = values.parameters();
        parameters.extend([
            (&after_at as &(dyn ToSql + Sync), Type::TIMESTAMPTZ),
            (&after_id, Type::UUID),
            (&page.with_payload, Type::BOOL),
        ]);
        let sql = format!("SELECT {COLUMNS} {} {PAGE}", matching(filter));
        let rows =
            self.client().await?.query_typed(&sql, &parameters).await.map_err(store_unavailable)?;
        Ok(rows.iter().map(stored_dead_letter).collect())
    }

    async fn count_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        count_max: u32,
    ) -> Result<u64, AdminError> {
        let sql = format!("SELECT count(*) FROM (SELECT {} LIMIT $7) found", matching(filter));
        let client = self.client().await?;
        let values = Values::of(filter, count_max);
        let row =
            client.query_typed_one(&sql, &values.parameters()).await.map_err(store_unavailable)?;
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
            Action::Discard => (DISCARD, Timestamp::now()),
        };
        let at = at.to_datetime();
        let name = action.as_str();
        let parameters = [
            (&ids as &(dyn ToSql + Sync), Type::UUID_ARRAY),
            (&at, Type::TIMESTAMPTZ),
            (&name, Type::TEXT),
            (&by, Type::TEXT),
        ];
        self.client().await?.execute_typed(sql, &parameters).await.map_err(store_unavailable)?;
        Ok(())
    }
}

fn stored_dead_letter(row: &Row) -> StoredDeadLetter {
    StoredDeadLetter {
        id: row.get::<_, Uuid>("id").into(),
        webhook_id: row.get::<_, Option<Uuid>>("webhook_id").map(Into::into),
        external_id: row.get("external_id"),
        member_email: row.get::<_, Option<&str>>("member_email").map(Email::folded),
        reason: row.get("reason"),
        error: row.get("error"),
        attempts: u32::try_from(row.get::<_, i32>("attempts")).unwrap_or(0),
        received_at: optional_timestamp(row, "received_at"),
        traceparent: row.get("traceparent"),
        dead_at: timestamp(row, "dead_at"),
        state: DeadLetterState::of(row.get("settled"), row.get("replayed"), row.get("discarded")),
        payload: row.get("payload"),
    }
}
