//! The statements that store a batch of activities, row by row in one transaction.

use std::sync::LazyLock;

use rusqlite::{Result, ToSql, Transaction};
use trailpad_common::store::coalesce::{CoalescedRow, coalesce, replaces};
use trailpad_common::store::{Inserted, NewActivity};
use trailpad_common::timestamp::Timestamp;

/// Declares the columns of a stored activity: name and value.
///
/// The statements, the values they bind and their order all come from this one list.
macro_rules! columns {
    ($row:ident, $stored_at:ident: $($name:ident = $value:expr;)+) => {
        const COLUMNS: &[&str] = &[$(stringify!($name),)+];

        fn execute(
            transaction: &Transaction<'_>,
            sql: &str,
            $row: &CoalescedRow<'_, '_>,
            $stored_at: Timestamp,
        ) -> Result<u64> {
            let mut statement = transaction.prepare_cached(sql)?;
            let values: &[&dyn ToSql] = &[$(&$value,)+];
            // The update statement does not use the last parameter, so it takes no value for it.
            let used = &values[..statement.parameter_count()];
            Ok(statement.execute(used)? as u64)
        }
    };
}

columns! { row, stored_at:
    id = row.id.uuid();
    content_id = row.content.id.uuid();
    replaces = replaces(row.content);
    webhook_id = row.content.webhook_id.uuid();
    project_id = row.content.project_id.uuid();
    member_id = row.content.member_id.uuid();
    external_id = row.content.activity.external_id;
    title = row.content.activity.title;
    description = row.content.activity.description;
    start_time = row.content.activity.start_time.unix_micros();
    end_time = row.content.activity.end_time.map(Timestamp::unix_micros);
    trigger = row.content.activity.trigger;
    event = row.content.activity.event;
    metadata = row.content.activity.metadata;
    received_at = row.content.received_at.unix_micros();
    stored_at = stored_at.unix_micros();
}

/// A replacement leaves these unchanged: they identify the row and its creation time.
const KEY_COLUMNS: [&str; 4] = ["id", "webhook_id", "external_id", "stored_at"];

static INSERT: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<String> = COLUMNS.iter().map(|name| format!("\"{name}\"")).collect();
    let values: Vec<String> = COLUMNS.iter().map(|name| parameter(name)).collect();
    format!(
        "INSERT INTO activities ({}) VALUES ({}) ON CONFLICT DO NOTHING",
        names.join(", "),
        values.join(", ")
    )
});

/// The same guard as on PostgreSQL: replacing content wins over content that does not replace;
/// among replacing contents the newest wins.
static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let content = COLUMNS.iter().filter(|name| !KEY_COLUMNS.contains(name));
    let assignments: Vec<String> =
        content.map(|name| format!("\"{name}\" = {}", parameter(name))).collect();
    format!(
        "UPDATE activities SET {assignments}
         WHERE webhook_id = {webhook_id} AND external_id = {external_id}
           AND {content_id} NOT IN (id, content_id)
           AND (NOT replaces OR (received_at, content_id) < ({received_at}, {content_id}))",
        assignments = assignments.join(", "),
        webhook_id = parameter("webhook_id"),
        external_id = parameter("external_id"),
        content_id = parameter("content_id"),
        received_at = parameter("received_at"),
    )
});

/// `?3` for the third column.
fn parameter(column: &str) -> String {
    let position = COLUMNS.iter().position(|name| *name == column);
    format!("?{}", position.map_or(0, |position| position + 1))
}

/// The caller commits.
pub(super) fn insert(transaction: &Transaction<'_>, batch: &[NewActivity<'_>]) -> Result<Inserted> {
    let stored_at = Timestamp::now();
    let mut stored = 0;
    let mut replaced = 0;
    for row in coalesce(batch) {
        let is_new = execute(transaction, &INSERT, &row, stored_at)?;
        stored += is_new;
        // Without an `externalId` the statement matches no row, so nothing is replaced.
        if is_new == 0 && replaces(row.content) {
            replaced += execute(transaction, &UPDATE, &row, stored_at)?;
        }
    }
    let duplicates = (batch.len() as u64).saturating_sub(stored + replaced);
    Ok(Inserted { stored, replaced, duplicates })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::file::open;
    use crate::sqlite::migrate::{STORE, migrate};

    #[test]
    fn the_columns_are_those_of_the_table() {
        let directory = tempfile::tempdir().expect("a temporary directory should be created");
        let path = directory.path().join("store.db");
        std::fs::File::create(&path).expect("the file should be created");
        migrate(&path, &STORE).expect("the migration should succeed");
        let connection = open(&path).expect("the file should open");
        let sql = "SELECT name FROM pragma_table_info('activities') ORDER BY name";
        let mut statement = connection.prepare(sql).expect("the statement should be valid");
        let names = statement.query_map([], |row| row.get::<_, String>(0));
        let table: Vec<String> =
            names.and_then(Iterator::collect).expect("the names should be read");
        let mut columns = COLUMNS.to_vec();
        columns.sort_unstable();
        assert_eq!(columns, table);
    }
}
