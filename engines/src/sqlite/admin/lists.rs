//! Reads stored activities.
//!
//! Long lists are read in pages, each in a separate snapshot, so that a reader never delays a
//! checkpoint of the write-ahead log.

use rusqlite::{Connection, Params, Row, params};
use serde_json::value::RawValue;
use trailpad_common::admin::{ActivityFilter, AdminError, StoredActivity};
use trailpad_common::email::Email;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::store_unavailable;
use crate::sqlite::file::Database;

const PAGE_ROWS: u32 = 500;

/// Read by name, so that the order of the columns does not matter.
pub(super) const ACTIVITY_COLUMNS: &str = "a.*, m.email AS member_email";

const ACTIVITIES: &str = "
FROM activities a
JOIN members m ON m.id = a.member_id
WHERE (?1 IS NULL OR a.webhook_id = ?1) AND (?2 IS NULL OR a.external_id = ?2)
  AND (a.received_at, a.id) < (?3, ?4)
ORDER BY a.received_at DESC, a.id DESC
LIMIT ?5
";

/// The bound values of a [`Cursor`](trailpad_common::admin::Cursor).
pub(super) type Position = (i64, Uuid);

/// The position before the first row of a list in descending order.
pub(super) const BEGINNING: Position = (i64::MAX, Uuid::max());

/// Reads all rows of a short list.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, AdminError> {
    let list = || connection.prepare_cached(sql)?.query_map(values, read)?.collect();
    let rows: rusqlite::Result<Vec<T>> = list();
    rows.map_err(store_unavailable)
}

/// Between two pages, other tasks may use the connection.
pub(super) fn activities(
    database: &Database,
    filter: &ActivityFilter,
) -> Result<Vec<StoredActivity>, AdminError> {
    let webhook = filter.webhook_id.map(|id| id.uuid());
    let sql = format!("SELECT {ACTIVITY_COLUMNS} {ACTIVITIES}");
    let mut rows = Vec::new();
    let mut position = BEGINNING;
    loop {
        let left = filter.limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let wanted = left.min(PAGE_ROWS);
        let values = params![webhook, filter.external_id, position.0, position.1, wanted];
        let page = database.with(|connection| all(connection, &sql, values, activity))?;
        let is_last = page.len() < PAGE_ROWS as usize;
        rows.extend(page);
        match rows.last() {
            Some(last) if !is_last => position = (last.received_at.unix_micros(), last.id.uuid()),
            _ => return Ok(rows),
        }
    }
}

pub(super) fn activity(row: &Row<'_>) -> rusqlite::Result<StoredActivity> {
    let metadata: Option<String> = row.get("metadata")?;
    Ok(StoredActivity {
        id: row.get::<_, Uuid>("id")?.into(),
        webhook_id: row.get::<_, Uuid>("webhook_id")?.into(),
        project_id: row.get::<_, Uuid>("project_id")?.into(),
        title: row.get("title")?,
        description: row.get("description")?,
        start_time: timestamp(row, "start_time")?,
        end_time: optional_timestamp(row, "end_time")?,
        trigger: row.get("trigger")?,
        event: row.get("event")?,
        member_email: Email::folded(row.get_ref("member_email")?.as_str()?),
        external_id: row.get("external_id")?,
        metadata: metadata.and_then(|text| RawValue::from_string(text).ok()),
        received_at: timestamp(row, "received_at")?,
        stored_at: timestamp(row, "stored_at")?,
    })
}

pub(super) fn timestamp(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_unix_micros(row.get(column)?))
}

pub(super) fn optional_timestamp(
    row: &Row<'_>,
    column: &str,
) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_unix_micros))
}
