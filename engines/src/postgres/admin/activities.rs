//! What arrived, on PostgreSQL: activities in pages, traffic, refused requests.

use async_trait::async_trait;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::admin::{
    ActivityQueries, ActivityQuery, ActivityScope, AdminError, ListedActivity, StoredActivity,
    Traffic,
};
use trailpad_common::email::Email;
use trailpad_common::failure::Unavailable;
use trailpad_common::id::{ActivityId, WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::{Counts, REJECTED_KEPT, RejectedRequest, TrafficLog, span_of};
use uuid::Uuid;

use super::lists::{ACTIVITY_COLUMNS, activity};
use super::{PostgresAdmin, at, away, not_found};
use crate::postgres::connect::get;
use crate::postgres::error::unavailable;

/// Each key's own newest rows come out of an index in order, as many as are wanted; then the keys
/// are merged. So a page costs the same wherever it is in the list.
fn page_sql(scope: ActivityScope) -> (String, Option<Uuid>) {
    let (column, keys, key) = match scope {
        ActivityScope::Workspace => {
            let all = "SELECT id FROM projects WHERE workspace_id = $1 AND $2::uuid IS NULL";
            ("project_id", all, None)
        }
        ActivityScope::Project(id) => ("project_id", "SELECT $2::uuid", Some(id.uuid())),
        ActivityScope::Webhook(id) => ("webhook_id", "SELECT $2::uuid", Some(id.uuid())),
        ActivityScope::Member(id) => ("member_id", "SELECT $2::uuid", Some(id.uuid())),
    };
    let sql = format!(
        "SELECT a.id, a.project_id, a.member_id, m.email, a.title, a.\"trigger\", a.event,
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

const ONE: &str = "
JOIN members m ON m.id = a.member_id
JOIN projects p ON p.id = a.project_id AND p.workspace_id = $1
WHERE a.id = $2
";

const LAST: &str = "
SELECT w.id, last.received_at
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

const REFUSED: &str = "
SELECT at, problem FROM refused_requests WHERE webhook_id = $1 ORDER BY id DESC LIMIT $2
";

/// In the order of ids, so that two that write at once don't deadlock.
const ADD: &str = "
INSERT INTO webhook_traffic AS t (webhook_id, span, accepted, refused, stored, dead)
SELECT webhook_id, $2, accepted, refused, stored, dead
FROM unnest($1::uuid[], $3::int[], $4::int[], $5::int[], $6::int[])
     AS r(webhook_id, accepted, refused, stored, dead)
ORDER BY webhook_id
ON CONFLICT (webhook_id, span) DO UPDATE
SET accepted = t.accepted + excluded.accepted, refused = t.refused + excluded.refused,
    stored = t.stored + excluded.stored, dead = t.dead + excluded.dead
";

const KEEP_REFUSED: &str = "
INSERT INTO refused_requests (webhook_id, at, problem)
SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[])
";

const FORGET_REFUSED: &str = "
DELETE FROM refused_requests r USING unnest($1::uuid[]) AS g(webhook_id)
WHERE r.webhook_id = g.webhook_id AND r.id <= (
    SELECT k.id FROM refused_requests k WHERE k.webhook_id = g.webhook_id
    ORDER BY k.id DESC OFFSET $2 LIMIT 1)
";

#[async_trait]
impl ActivityQueries for PostgresAdmin {
    async fn page(&self, query: &ActivityQuery) -> Result<Vec<ListedActivity>, AdminError> {
        let (sql, key) = page_sql(query.scope);
        let workspace = query.workspace_id.uuid();
        let (from, until) =
            (query.from.map(Timestamp::to_datetime), query.until.map(Timestamp::to_datetime));
        let (at, id) = query.after.map(|(at, id)| (at.to_datetime(), id.uuid())).unzip();
        let limit = i64::from(query.limit);
        let parameters: [(&(dyn ToSql + Sync), Type); 7] = [
            (&workspace, Type::UUID),
            (&key, Type::UUID),
            (&from, Type::TIMESTAMPTZ),
            (&until, Type::TIMESTAMPTZ),
            (&at, Type::TIMESTAMPTZ),
            (&id, Type::UUID),
            (&limit, Type::INT8),
        ];
        let rows = self.client().await?.query_typed(&sql, &parameters).await.map_err(away)?;
        Ok(rows.iter().map(listed).collect())
    }

    async fn activity(
        &self,
        workspace_id: WorkspaceId,
        id: ActivityId,
    ) -> Result<StoredActivity, AdminError> {
        let sql = format!("SELECT {ACTIVITY_COLUMNS} FROM activities a {ONE}");
        let (workspace, uuid) = (workspace_id.uuid(), id.uuid());
        let parameters = [(&workspace as _, Type::UUID), (&uuid as _, Type::UUID)];
        let row = self.client().await?.query_typed_opt(&sql, &parameters).await.map_err(away)?;
        row.as_ref().map(activity).ok_or_else(|| not_found(format!("there is no activity {id}")))
    }

    async fn last_activities(
        &self,
        workspace_id: WorkspaceId,
    ) -> Result<Vec<(WebhookId, Timestamp)>, AdminError> {
        let workspace = workspace_id.uuid();
        let parameters = [(&workspace as _, Type::UUID)];
        let rows = self.client().await?.query_typed(LAST, &parameters).await.map_err(away)?;
        let last = |row: &Row| (row.get::<_, Uuid>(0).into(), at(row, 1));
        Ok(rows.iter().map(last).collect())
    }

    async fn traffic(
        &self,
        workspace_id: WorkspaceId,
        webhooks: &[WebhookId],
        since: Timestamp,
    ) -> Result<Vec<Traffic>, AdminError> {
        let webhooks: Vec<Uuid> = webhooks.iter().map(|id| id.uuid()).collect();
        let (workspace, since) = (workspace_id.uuid(), since.to_datetime());
        let parameters = [
            (&workspace as _, Type::UUID),
            (&webhooks as _, Type::UUID_ARRAY),
            (&since as _, Type::TIMESTAMPTZ),
        ];
        let rows = self.client().await?.query_typed(TRAFFIC, &parameters).await.map_err(away)?;
        let traffic = |row: &Row| {
            let count = |column: usize| u32::try_from(row.get::<_, i32>(column)).unwrap_or(0);
            let counts =
                Counts { accepted: count(2), refused: count(3), stored: count(4), dead: count(5) };
            Traffic { webhook_id: row.get::<_, Uuid>(0).into(), span: at(row, 1), counts }
        };
        Ok(rows.iter().map(traffic).collect())
    }

    async fn refused(
        &self,
        webhook_id: WebhookId,
        limit: u32,
    ) -> Result<Vec<RejectedRequest>, AdminError> {
        let (webhook, limit) = (webhook_id.uuid(), i64::from(limit));
        let parameters = [(&webhook as _, Type::UUID), (&limit as _, Type::INT8)];
        let rows = self.client().await?.query_typed(REFUSED, &parameters).await.map_err(away)?;
        let refused =
            |row: &Row| RejectedRequest { webhook_id, at: at(row, 0), problem: row.get(1) };
        Ok(rows.iter().map(refused).collect())
    }
}

fn listed(row: &Row) -> ListedActivity {
    ListedActivity {
        id: row.get::<_, Uuid>(0).into(),
        project_id: row.get::<_, Uuid>(1).into(),
        member_id: row.get::<_, Uuid>(2).into(),
        member_email: Email::folded(row.get(3)),
        title: row.get(4),
        trigger: row.get(5),
        event: row.get(6),
        start_time: at(row, 7),
        external_id: row.get(8),
        received_at: at(row, 9),
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
            let done = transaction.execute_typed(sql, parameters).await;
            done.map(|_| ()).map_err(|error| unavailable(&error))
        };
        let webhooks: Vec<Uuid> = counts.iter().map(|(id, _)| id.uuid()).collect();
        let column = |of: fn(&Counts) -> u32| -> Vec<i32> {
            counts.iter().map(|(_, counts)| i32::try_from(of(counts)).unwrap_or(i32::MAX)).collect()
        };
        let (accepted, refused_counts) = (column(|c| c.accepted), column(|c| c.refused));
        let (stored, dead) = (column(|c| c.stored), column(|c| c.dead));
        let span = span_of(at).to_datetime();
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&webhooks, Type::UUID_ARRAY),
            (&span, Type::TIMESTAMPTZ),
            (&accepted, Type::INT4_ARRAY),
            (&refused_counts, Type::INT4_ARRAY),
            (&stored, Type::INT4_ARRAY),
            (&dead, Type::INT4_ARRAY),
        ];
        execute(ADD, &parameters).await?;
        if !refused.is_empty() {
            let of: Vec<Uuid> = refused.iter().map(|refused| refused.webhook_id.uuid()).collect();
            let ats: Vec<_> = refused.iter().map(|refused| refused.at.to_datetime()).collect();
            let problems: Vec<&str> = refused.iter().map(|refused| &*refused.problem).collect();
            let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
                (&of, Type::UUID_ARRAY),
                (&ats, Type::TIMESTAMPTZ_ARRAY),
                (&problems, Type::TEXT_ARRAY),
            ];
            execute(KEEP_REFUSED, &parameters).await?;
            let kept = i64::from(REJECTED_KEPT);
            execute(FORGET_REFUSED, &[(&of, Type::UUID_ARRAY), (&kept, Type::INT8)]).await?;
        }
        transaction.commit().await.map_err(|error| unavailable(&error))
    }

    async fn forget(&self, before: Timestamp) -> Result<(), Unavailable> {
        let (client, before) = (get(&self.pool).await?, before.to_datetime());
        let sql = "DELETE FROM webhook_traffic WHERE span < $1";
        let forgotten = client.execute_typed(sql, &[(&before, Type::TIMESTAMPTZ)]).await;
        forgotten.map(|_| ()).map_err(|error| unavailable(&error))
    }
}
