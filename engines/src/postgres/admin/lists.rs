//! Reads stored activities.

use deadpool_postgres::Object;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, Type};
use trailpad_common::admin::{ActivityFilter, AdminError, StoredActivity};
use trailpad_common::email::Email;
use uuid::Uuid;

use super::{optional_timestamp, store_unavailable, timestamp};

/// Read by name, so that the order of the columns does not matter.
pub(super) const ACTIVITY_COLUMNS: &str = "a.*, m.email AS member_email";

const ACTIVITIES: &str = "
FROM activities a
JOIN members m ON m.id = a.member_id
WHERE ($1::uuid IS NULL OR a.webhook_id = $1) AND ($2::text IS NULL OR a.external_id = $2)
ORDER BY a.received_at DESC, a.id DESC
LIMIT $3
";

pub(super) async fn activities(
    client: &Object,
    filter: &ActivityFilter,
) -> Result<Vec<StoredActivity>, AdminError> {
    let webhook = filter.webhook_id.map(|id| id.uuid());
    let limit = i64::from(filter.limit);
    let parameters = [
        (&webhook as _, Type::UUID),
        (&filter.external_id as _, Type::TEXT),
        (&limit as _, Type::INT8),
    ];
    let sql = format!("SELECT {ACTIVITY_COLUMNS} {ACTIVITIES}");
    let rows = client.query_typed(&sql, &parameters).await.map_err(store_unavailable)?;
    Ok(rows.iter().map(activity).collect())
}

pub(super) fn activity(row: &Row) -> StoredActivity {
    // Raw, so that every digit stays as it was sent.
    let metadata: Option<Json<Box<RawValue>>> = row.get("metadata");
    StoredActivity {
        id: row.get::<_, Uuid>("id").into(),
        webhook_id: row.get::<_, Uuid>("webhook_id").into(),
        project_id: row.get::<_, Uuid>("project_id").into(),
        title: row.get("title"),
        description: row.get("description"),
        start_time: timestamp(row, "start_time"),
        end_time: optional_timestamp(row, "end_time"),
        trigger: row.get("trigger"),
        event: row.get("event"),
        member_email: Email::folded(row.get("member_email")),
        external_id: row.get("external_id"),
        metadata: metadata.map(|Json(raw)| raw),
        received_at: timestamp(row, "received_at"),
        stored_at: timestamp(row, "stored_at"),
    }
}
