//! Waiting retries on SQLite: list, and make due.

use async_trait::async_trait;
use rusqlite::{Row, named_params};
use trailpad_common::admin::{AdminError, RetryAdmin, RetryFilter, StoredRetry};
use trailpad_common::email::Email;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::lists::timestamp;
use super::{SqliteAdmin, store_unavailable};

/// There are few retries, so a condition on every column needs no index.
const MATCHING: &str = "
WHERE (:id IS NULL OR id = :id) AND (:webhook IS NULL OR webhook_id = :webhook)
  AND (:reason IS NULL OR reason = :reason) AND (:member IS NULL OR member_email = :member)
";

#[async_trait]
impl RetryAdmin for SqliteAdmin {
    async fn retries(
        &self,
        filter: &RetryFilter,
        limit: u32,
    ) -> Result<Vec<StoredRetry>, AdminError> {
        let sql = format!(
            "SELECT id, webhook_id, member_email, reason, error, attempt, received_at, due_at
             FROM retries {MATCHING} ORDER BY due_at, id LIMIT :limit"
        );
        self.read(|connection| {
            let mut statement = connection.prepare(&sql).map_err(store_unavailable)?;
            let values = named_params! {
                ":id": filter.id.map(|id| id.uuid()),
                ":webhook": filter.webhook_id.map(|id| id.uuid()),
                ":reason": filter.reason,
                ":member": filter.member_email.as_ref().map(Email::as_str),
                ":limit": limit,
            };
            let rows = statement.query_map(values, stored_retry).map_err(store_unavailable)?;
            rows.collect::<Result<_, _>>().map_err(store_unavailable)
        })
    }

    async fn hurry_retries(&self, filter: &RetryFilter) -> Result<u64, AdminError> {
        let sql = format!("UPDATE retries SET due_at = :now {MATCHING}");
        self.write(|transaction| {
            let values = named_params! {
                ":id": filter.id.map(|id| id.uuid()),
                ":webhook": filter.webhook_id.map(|id| id.uuid()),
                ":reason": filter.reason,
                ":member": filter.member_email.as_ref().map(Email::as_str),
                ":now": Timestamp::now().unix_micros(),
            };
            let hurried = transaction.execute(&sql, values).map_err(store_unavailable)?;
            Ok(hurried as u64)
        })
    }
}

fn stored_retry(row: &Row<'_>) -> rusqlite::Result<StoredRetry> {
    Ok(StoredRetry {
        id: row.get::<_, Uuid>("id")?.into(),
        webhook_id: row.get::<_, Uuid>("webhook_id")?.into(),
        member_email: row.get_ref("member_email")?.as_str_or_null()?.map(Email::folded),
        reason: row.get("reason")?,
        error: row.get("error")?,
        attempt: row.get("attempt")?,
        received_at: timestamp(row, "received_at")?,
        due_at: timestamp(row, "due_at")?,
    })
}
