//! Activities in pages, traffic and rejected requests on PostgreSQL.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::admin::{
    ActivityQueries, ActivityQuery, ActivityScope, AdminError, ListedActivity, Missing,
    StoredActivity, Traffic,
};
use trailpad_common::email::Email;
use trailpad_common::failure::Unavailable;
use trailpad_common::id::{ActivityId, WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::{Counts, REJECTED_KEPT, RejectedRequest, TrafficLog, span_of};
use uuid::Uuid;

use super::lists::{ACTIVITY_COLUMNS, activity};
use super::{PostgresAdmin, store_unavailable, timestamp};
use crate::postgres::connect::get;
use crate::postgres::error::unavailable;

/// Returns the statement of a page and the value of its `$2`.
///
/// An index returns the newest rows of each key in order, at most one page of them; then the keys
/// are merged. So a page costs the same wherever it is in the list.
fn page_sql(scope: ActivityScope) -> (String, Option<Uuid>) {
    let (column, keys, key) = match scope {
        ActivityScope::Workspace => {
            let projects = "SELECT id FROM projects WHERE workspace_id = $1 AND $2::uuid IS NULL";
            ("project_id", projects, None)
        }
        ActivityScope::Project(id) => ("project_id", "SELECT $2::uuid", Some(id.uuid())),
        ActivityScope::Webhook(id) => ("webhook_id", "SELECT $2::uuid", Some(id.uuid())),
        ActivityScope::Member(id) => ("member_id", "SELECT $2::uuid", Some(id.uuid())),
    };
    let sql = format!(
        "SELECT a.id, a.project_id, a.member_id, m.email AS member_email, a.title, a.\"trigger\", a.event,
                a.start_time, a.external_id, a.received_at
         FROM ({keys}) AS keys(key)
         CROSS JOIN LATERAL (
             SELECT * FROM activities a
             WHERE a.{column} = keys.key
               AND ($3::timestamptz IS NULL OR a.received_at >= $3)
               AND ($4::timestamptz IS NULL OR a.received_at < $4)
               AND ($5::timestamptz IS NULL OR (a.received_at, a.id) < ($5, $6))
             ORDER BY a.received_at DESC, a.id DESC LIMIT $7
         ) a
         JOIN members m ON m.id = a.member_id
         JOIN projects p ON p.id = a.project_id AND p.workspace_id = $1
         ORDER BY a.received_at DESC, a.id DESC LIMIT $7"
    );
    (sql, key)
}

const ACTIVITY: &str = "
JOIN members m ON m.id = a.member_id
JOIN projects p ON p.id = a.project_id AND p.workspace_id = $1
WHERE a.id = $2
";

const LAST_ACTIVITIES: &str = "
SELECT w.id AS webhook_id, last.received_at
FROM webhooks w
JOIN projects p ON p.id = w.project_id AND p.workspace_id = $1
CROSS JOIN LATERAL (
    SELECT a.received_at FROM activities a WHERE a.webhook_id = w.id
    ORDER BY a.received_at DESC, a.id DESC LIMIT 1
) last
";

const TRAFFIC: &str = "
SELECT t.webhook_id, t.span, t.accepted, t.refused, t.stored, t.dead
FROM webhook_traffic t
JOIN webhooks w ON w.id = t.webhook_id
JOIN projects p ON p.id = w.project_id AND p.workspace_id = $1
WHERE t.webhook_id = ANY ($2::uuid[]) AND t.span >= $3
ORDER BY t.span
";

const REJECTED: &str = "
SELECT at, problem FROM refused_requests WHERE webhook_id = $1 ORDER BY id DESC LIMIT $2
";

/// Ordered by id, so that concurrent writers don't deadlock.
const ADD_COUNTS: &str = "
INSERT INTO webhook_traffic AS t (webhook_id, span, accepted, refused, stored, dead)
SELECT webhook_id, $2, accepted, refused, stored, dead
FROM unnest($1::uuid[], $3::int[], $4::int[], $5::int[], $6::int[])
     AS r(webhook_id, accepted, refused, stored, dead)
ORDER BY webhook_id
ON CONFLICT (webhook_id, span) DO UPDATE
SET accepted = t.accepted + excluded.accepted, refused = t.refused + excluded.refused,
    stored = t.stored + excluded.stored, dead = t.dead + excluded.dead
";

const INSERT_REJECTED: &str = "
INSERT INTO refused_requests (webhook_id, at, problem)
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[])
";

const TRIM_REJECTED: &str = "
DELETE FROM refused_requests r USING unnest($1::uuid[]) AS given(webhook_id)
WHERE r.webhook_id = given.webhook_id AND r.id <= (
    SELECT o.id FROM refused_requests o WHERE o.webhook_id = given.webhook_id
    ORDER BY o.id DESC OFFSET $2 LIMIT 1)
";

#[async_trait]
impl ActivityQueries for PostgresAdmin {
    async fn page(&self, query: &ActivityQuery) -> Result<Vec<ListedActivity>, AdminError> {
        let (sql, key) = page_sql(query.scope);
        let workspace = query.workspace_id.uuid();
        let from = query.from.map(Timestamp::to_datetime);
        let until = query.until.map(Timestamp::to_datetime);
        let (after_at, after_id) =
            query.after.map(|cursor| (cursor.at.to_datetime(), cursor.id.uuid())).unzip();
        let limit = i64::from(query.limit);
        let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
            (&workspace, Type::UUID),
            (&key, Type::UUID),
            (&from, Type::TIMESTAMPTZ),
            (&until, Type::TIMESTAMPTZ),
            (&after_at, Type::TIMESTAMPTZ),
            (&after_id, Type::UUID),
            (&limit, Type::INT8),
        ];
        let rows =
            self.client().await?.query_typed(&sql, &parameters).await.map_err(store_unavailable)?;
        Ok(rows.iter().map(listed_activity).collect())
    }

    async fn activity(
        &self,
        workspace_id: WorkspaceId,
        id: ActivityId,
    ) -> Result<StoredActivity, AdminError> {
        let sql = format!("SELECT {ACTIVITY_COLUMNS} FROM activities a {ACTIVITY}");
        let workspace = workspace_id.uuid();
        let uuid = id.uuid();
        let parameters = [(&workspace as _, Type::UUID), (&uuid as _, Type::UUID)];
        let row = self
            .client()
            .await?
            .query_typed_opt(&sql, &parameters)
            .await
            .map_err(store_unavailable)?;
        row.as_ref().map(activity).ok_or_else(|| Missing::Activity(id).into())
    }

    async fn last_activities(
        &self,
        workspace_id: WorkspaceId,
    ) -> Result<Vec<(WebhookId, Timestamp)>, AdminError> {
        let workspace = workspace_id.uuid();
        let parameters = [(&workspace as _, Type::UUID)];
        let rows = self
            .client()
            .await?
            .query_typed(LAST_ACTIVITIES, &parameters)
            .await
            .map_err(store_unavailable)?;
        let last =
            |row: &Row| (row.get::<_, Uuid>("webhook_id").into(), timestamp(row, "received_at"));
        Ok(rows.iter().map(last).collect())
    }

    async fn traffic(
        &self,
        workspace_id: WorkspaceId,
        webhooks: &[WebhookId],
        since: Timestamp,
    ) -> Result<Vec<Traffic>, AdminError> {
        let webhooks: Vec<Uuid> = webhooks.iter().map(|id| id.uuid()).collect();
        let workspace = workspace_id.uuid();
        let since = since.to_datetime();
        let parameters = [
            (&workspace as _, Type::UUID),
            (&webhooks as _, Type::UUID_ARRAY),
            (&since as _, Type::TIMESTAMPTZ),
        ];
        let rows = self
            .client()
            .await?
            .query_typed(TRAFFIC, &parameters)
            .await
            .map_err(store_unavailable)?;
        Ok(rows.iter().map(traffic).collect())
    }

    async fn refused(
        &self,
        webhook_id: WebhookId,
        limit: u32,
    ) -> Result<Vec<RejectedRequest>, AdminError> {
        let webhook = webhook_id.uuid();
        let limit = i64::from(limit);
        let parameters = [(&webhook as _, Type::UUID), (&limit as _, Type::INT8)];
        let rows = self
            .client()
            .await?
            .query_typed(REJECTED, &parameters)
            .await
            .map_err(store_unavailable)?;
        let rejected = |row: &Row| RejectedRequest {
            webhook_id,
            at: timestamp(row, "at"),
            problem: row.get("problem"),
        };
        Ok(rows.iter().map(rejected).collect())
    }
}

fn listed_activity(row: &Row) -> ListedActivity {
    ListedActivity {
        id: row.get::<_, Uuid>("id").into(),
        project_id: row.get::<_, Uuid>("project_id").into(),
        member_id: row.get::<_, Uuid>("member_id").into(),
        member_email: Email::folded(row.get("member_email")),
        title: row.get("title"),
        trigger: row.get("trigger"),
        event: row.get("event"),
        start_time: timestamp(row, "start_time"),
        external_id: row.get("external_id"),
        received_at: timestamp(row, "received_at"),
    }
}

fn traffic(row: &Row) -> Traffic {
    let count = |column| u32::try_from(row.get::<_, i32>(column)).unwrap_or(0);
    Traffic {
        webhook_id: row.get::<_, Uuid>("webhook_id").into(),
        span: timestamp(row, "span"),
        counts: Counts {
            accepted: count("accepted"),
            refused: count("refused"),
            stored: count("stored"),
            dead: count("dead"),
        },
    }
}

#[async_trait]
impl TrafficLog for PostgresAdmin {
    async fn record(
        &self,
        at: Timestamp,
        counts: &[(WebhookId, Counts)],
        refused: &[RejectedRequest],
    ) -> Result<(), Unavailable> {
        let mut client = get(&self.pool).await?;
        let transaction = client.transaction().await.map_err(|error| unavailable(&error))?;
        let execute = async |sql: &str, parameters: &[(&(dyn ToSql + Sync), Type)]| {
            let executed = transaction.execute_typed(sql, parameters).await;
            executed.map(|_| ()).map_err(|error| unavailable(&error))
        };
        let webhooks: Vec<Uuid> = counts.iter().map(|(id, _)| id.uuid()).collect();
        let column = |of: fn(&Counts) -> u32| -> Vec<i32> {
            counts.iter().map(|(_, counts)| i32::try_from(of(counts)).unwrap_or(i32::MAX)).collect()
        };
        let accepted = column(|counts| counts.accepted);
        let refused_counts = column(|counts| counts.refused);
        let stored = column(|counts| counts.stored);
        let dead = column(|counts| counts.dead);
        let span = span_of(at).to_datetime();
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&webhooks, Type::UUID_ARRAY),
            (&span, Type::TIMESTAMPTZ),
            (&accepted, Type::INT4_ARRAY),
            (&refused_counts, Type::INT4_ARRAY),
            (&stored, Type::INT4_ARRAY),
            (&dead, Type::INT4_ARRAY),
        ];
        execute(ADD_COUNTS, &parameters).await?;
        if !refused.is_empty() {
            let webhooks: Vec<Uuid> =
                refused.iter().map(|refused| refused.webhook_id.uuid()).collect();
            let times: Vec<_> = refused.iter().map(|refused| refused.at.to_datetime()).collect();
            let problems: Vec<&str> = refused.iter().map(|refused| &*refused.problem).collect();
            let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
                (&webhooks, Type::UUID_ARRAY),
                (&times, Type::TIMESTAMPTZ_ARRAY),
                (&problems, Type::TEXT_ARRAY),
            ];
            execute(INSERT_REJECTED, &parameters).await?;
            let kept = i64::from(REJECTED_KEPT);
            execute(TRIM_REJECTED, &[(&webhooks, Type::UUID_ARRAY), (&kept, Type::INT8)]).await?;
        }
        transaction.commit().await.map_err(|error| unavailable(&error))
    }

    async fn forget(&self, before: Timestamp) -> Result<(), Unavailable> {
        let client = get(&self.pool).await?;
        let before = before.to_datetime();
        let sql = "DELETE FROM webhook_traffic WHERE span < $1";
        let deleted = client.execute_typed(sql, &[(&before, Type::TIMESTAMPTZ)]).await;
        deleted.map(|_| ()).map_err(|error| unavailable(&error))
    }
}
