//! Waiting retries on PostgreSQL: list, and make due.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::admin::{AdminError, RetryAdmin, RetryFilter, StoredRetry};
use trailpad_common::email::Email;
use uuid::Uuid;

use super::{PostgresAdmin, store_unavailable};

/// There are few retries, so a condition on every column needs no index.
const MATCHING: &str = "
WHERE ($1::uuid IS NULL OR id = $1) AND ($2::uuid IS NULL OR webhook_id = $2)
  AND ($3::text IS NULL OR reason = $3) AND ($4::text IS NULL OR member_email = $4)
";

#[async_trait]
impl RetryAdmin for PostgresAdmin {
    async fn retries(
        &self,
        filter: &RetryFilter,
        limit: u32,
    ) -> Result<Vec<StoredRetry>, AdminError> {
        let sql = format!(
            "SELECT id, webhook_id, member_email, reason, error, attempt, received_at, due_at
             FROM retries {MATCHING} ORDER BY due_at, id LIMIT $5"
        );
        let values = Values::of(filter);
        let limit = i64::from(limit);
        let mut parameters = values.parameters();
        parameters.push((&limit, Type::INT8));
        let client = self.client().await?;
        let rows = client.query_typed(&sql, &parameters).await.map_err(store_unavailable)?;
        Ok(rows.iter().map(stored_retry).collect())
    }

    async fn hurry_retries(&self, filter: &RetryFilter) -> Result<u64, AdminError> {
        let sql = format!("UPDATE retries SET due_at = now() {MATCHING}");
        let client = self.client().await?;
        let hurried = client.execute_typed(&sql, &Values::of(filter).parameters()).await;
        hurried.map_err(store_unavailable)
    }
}

/// `$1` to `$4`.
struct Values<'a> {
    id: Option<Uuid>,
    webhook: Option<Uuid>,
    reason: Option<&'a str>,
    member: Option<&'a str>,
}

impl<'a> Values<'a> {
    fn of(filter: &'a RetryFilter) -> Self {
        Self {
            id: filter.id.map(|id| id.uuid()),
            webhook: filter.webhook_id.map(|id| id.uuid()),
            reason: filter.reason.as_deref(),
            member: filter.member_email.as_ref().map(Email::as_str),
        }
    }

    fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        vec![
            (&self.id, Type::UUID),
            (&self.webhook, Type::UUID),
            (&self.reason, Type::TEXT),
            (&self.member, Type::TEXT),
        ]
    }
}

fn stored_retry(row: &Row) -> StoredRetry {
    let timestamp = |name: &str| row.get::<_, DateTime<Utc>>(name).into();
    StoredRetry {
        id: row.get::<_, Uuid>("id").into(),
        webhook_id: row.get::<_, Uuid>("webhook_id").into(),
        member_email: row.get::<_, Option<&str>>("member_email").map(Email::folded),
        reason: row.get("reason"),
        error: row.get("error"),
        attempt: u32::try_from(row.get::<_, i32>("attempt")).unwrap_or(1),
        received_at: timestamp("received_at"),
        due_at: timestamp("due_at"),
    }
}
