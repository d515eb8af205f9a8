//! Activities that people look at.

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use trailpad_common::admin::{ActivityFilter, AdminError, StoredActivity};
use trailpad_common::email::Email;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::away;

pub(super) const ACTIVITY_COLUMNS: &str = r#"
a.id, a.webhook_id, a.project_id, a.title, a.description, a.start_time, a.end_time, a."trigger",
a.event, m.email AS member_email, a.external_id, a.metadata::text AS metadata, a.received_at,
a.stored_at
"#;

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
    let (webhook, limit) = (filter.webhook_id.map(|id| id.uuid()), i64::from(filter.limit));
    let parameters = [
        (&webhook as _, Type::UUID),
        (&filter.external_id as _, Type::TEXT),
        (&limit as _, Type::INT8),
    ];
    let sql = format!("SELECT {ACTIVITY_COLUMNS} {ACTIVITIES}");
    let rows = client.query_typed(&sql, &parameters).await.map_err(away)?;
    Ok(rows.iter().map(activity).collect())
}

pub(super) fn activity(row: &Row) -> StoredActivity {
    // As text, so that every digit stays as it was sent.
    let metadata: Option<String> = row.get("metadata");
    StoredActivity {
        id: row.get::<_, Uuid>("id").into(),
        webhook_id: row.get::<_, Uuid>("webhook_id").into(),
        project_id: row.get::<_, Uuid>("project_id").into(),
        title: row.get("title"),
        description: row.get("description"),
        start_time: at(row, "start_time"),
        end_time: maybe_at(row, "end_time"),
        trigger: row.get("trigger"),
        event: row.get("event"),
        member_email: Email::folded(row.get("member_email")),
        external_id: row.get("external_id"),
        metadata: metadata.and_then(|text| RawValue::from_string(text).ok()),
        received_at: at(row, "received_at"),
        stored_at: at(row, "stored_at"),
    }
}

fn at(row: &Row, column: &str) -> Timestamp {
    row.get::<_, DateTime<Utc>>(column).into()
}

fn maybe_at(row: &Row, column: &str) -> Option<Timestamp> {
    row.get::<_, Option<DateTime<Utc>>>(column).map(Into::into)
}
