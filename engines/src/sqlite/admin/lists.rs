//! Activities that people look at. Long lists are read in pages, each a
//! snapshot of its own, so that a reader never holds up a checkpoint of the write-ahead log.

use rusqlite::{Connection, Params, Row, params};
use serde_json::value::RawValue;
use trailpad_common::admin::{ActivityFilter, AdminError, StoredActivity};
use trailpad_common::email::Email;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::away;
use crate::sqlite::file::Database;

const PAGE_ROWS: u32 = 500;

pub(super) const ACTIVITY_COLUMNS: &str = r#"
a.id, a.webhook_id, a.project_id, a.title, a.description, a.start_time, a.end_time, a."trigger",
a.event, m.email, a.external_id, a.metadata, a.received_at, a.stored_at
"#;

const ACTIVITIES: &str = "
FROM activities a
JOIN members m ON m.id = a.member_id
WHERE (?1 IS NULL OR a.webhook_id = ?1) AND (?2 IS NULL OR a.external_id = ?2)
  AND (a.received_at, a.id) < (?3, ?4)
ORDER BY a.received_at DESC, a.id DESC
LIMIT ?5
";

/// Where a page goes on: instant and id of the last row before it.
pub(super) type Place = (i64, Uuid);

/// Before everything, the newest first.
pub(super) const BEGINNING: Place = (i64::MAX, Uuid::max());

/// Every row of a short list.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, AdminError> {
    let list = || connection.prepare_cached(sql)?.query_map(values, read)?.collect();
    let rows: rusqlite::Result<Vec<T>> = list();
    rows.map_err(away)
}

/// Reads page after page, letting others at the connection and the file in between.
pub(super) fn activities(
    database: &Database,
    filter: &ActivityFilter,
) -> Result<Vec<StoredActivity>, AdminError> {
    let webhook = filter.webhook_id.map(|id| id.uuid());
    let sql = format!("SELECT {ACTIVITY_COLUMNS} {ACTIVITIES}");
    let (mut rows, mut place) = (Vec::new(), BEGINNING);
    loop {
        let left = filter.limit.saturating_sub(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let wanted = left.min(PAGE_ROWS);
        let values = params![webhook, filter.external_id, place.0, place.1, wanted];
        let page = database.with(|connection| all(connection, &sql, values, activity))?;
        let is_last = page.len() < PAGE_ROWS as usize;
        rows.extend(page);
        match rows.last() {
            Some(last) if !is_last => place = (last.received_at.unix_micros(), last.id.uuid()),
            _ => return Ok(rows),
        }
    }
}

pub(super) fn activity(row: &Row<'_>) -> rusqlite::Result<StoredActivity> {
    let metadata: Option<String> = row.get(11)?;
    Ok(StoredActivity {
        id: row.get::<_, Uuid>(0)?.into(),
        webhook_id: row.get::<_, Uuid>(1)?.into(),
        project_id: row.get::<_, Uuid>(2)?.into(),
        title: row.get(3)?,
        description: row.get(4)?,
        start_time: at(row, 5)?,
        end_time: maybe_at(row, 6)?,
        trigger: row.get(7)?,
        event: row.get(8)?,
        member_email: Email::folded(row.get_ref(9)?.as_str()?),
        external_id: row.get(10)?,
        metadata: metadata.and_then(|text| RawValue::from_string(text).ok()),
        received_at: at(row, 12)?,
        stored_at: at(row, 13)?,
    })
}

fn at(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_unix_micros(row.get(column)?))
}

fn maybe_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_unix_micros))
}
