//! The statements that store a batch of activities, row by row in one transaction.

use std::sync::LazyLock;

use rusqlite::{Connection, Result, ToSql, Transaction};
use trailpad_common::id::ActivityId;
use trailpad_common::store::coalesce::{CoalescedRow, coalesce, coalesced_under, replaces};
use trailpad_common::store::{Inserted, NewActivity, Refused, Stored};
use trailpad_common::timestamp::Timestamp;

use super::error::{Refusal, refusal};

/// Declares the columns of a stored activity: name and value.
///
/// The statements, the values they bind and their order all come from this one list.
macro_rules! columns {
    ($row:ident, $stored_at:ident: $($name:ident = $value:expr;)+) => {
        const COLUMNS: &[&str] = &[$(stringify!($name),)+];

        fn execute(
            connection: &Connection,
            sql: &str,
            $row: &CoalescedRow<'_, '_>,
            $stored_at: Timestamp,
        ) -> Result<u64> {
            let mut statement = connection.prepare_cached(sql)?;
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

/// The conflict target is named, so that a further unique index of the operator refuses a row
/// instead of making it a duplicate that nobody sees.
static INSERT: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<String> = COLUMNS.iter().map(|name| format!("\"{name}\"")).collect();
    let values: Vec<String> = COLUMNS.iter().map(|name| parameter(name)).collect();
    format!(
        "INSERT INTO activities ({}) SELECT {}
         WHERE NOT EXISTS (SELECT 1 FROM activities WHERE id = {})
         ON CONFLICT (webhook_id, external_id) WHERE external_id IS NOT NULL DO NOTHING",
        names.join(", "),
        values.join(", "),
        parameter("id"),
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
           AND (NOT replaces OR (received_at, content_id) < ({received_at}, {content_id}))
           AND NOT EXISTS (SELECT 1 FROM activities WHERE id = {content_id})",
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

/// Stores the activities that the file accepts. The caller commits.
///
/// # Errors
/// An error of the environment.
pub(super) fn insert(
    transaction: &mut Transaction<'_>,
    batch: &[NewActivity<'_>],
) -> Result<Stored> {
    let stored_at = Timestamp::now();
    let mut outcome = Stored::default();
    for row in coalesce(batch) {
        insert_or_refuse(transaction, &row, stored_at, &mut outcome)?;
    }
    // A refused row may stand for several activities of its key. Each gets its own chance.
    let refused: Vec<ActivityId> = outcome.refused.iter().map(|refused| refused.id).collect();
    for row in coalesced_under(batch, &refused) {
        insert_or_refuse(transaction, &row, stored_at, &mut outcome)?;
    }
    let Inserted { stored, replaced, .. } = outcome.inserted;
    let others = stored + replaced + outcome.refused.len() as u64;
    outcome.inserted.duplicates = (batch.len() as u64).saturating_sub(others);
    Ok(outcome)
}

fn insert_or_refuse(
    transaction: &mut Transaction<'_>,
    row: &CoalescedRow<'_, '_>,
    stored_at: Timestamp,
    outcome: &mut Stored,
) -> Result<()> {
    let savepoint = transaction.savepoint()?;
    match insert_row(&savepoint, row, stored_at) {
        Ok((stored, replaced)) => {
            savepoint.commit()?;
            outcome.inserted.stored += stored;
            outcome.inserted.replaced += replaced;
        }
        Err(error) => match refusal(&error) {
            // Dropping the savepoint rolls it back.
            Some(Refusal { is_permanent, error }) => {
                outcome.refused.push(Refused { id: row.content.id, is_permanent, error });
            }
            None => return Err(error),
        },
    }
    Ok(())
}

/// The numbers of stored and of replaced rows.
fn insert_row(
    connection: &Connection,
    row: &CoalescedRow<'_, '_>,
    stored_at: Timestamp,
) -> Result<(u64, u64)> {
    let stored = execute(connection, &INSERT, row, stored_at)?;
    // Without an `externalId` the statement matches no row, so nothing is replaced.
    let may_replace = stored == 0 && replaces(row.content);
    let replaced = if may_replace { execute(connection, &UPDATE, row, stored_at)? } else { 0 };
    Ok((stored, replaced))
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
