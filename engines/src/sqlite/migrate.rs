//! Migrations: each file's schema, brought to the version of this code.

use std::fs;
use std::path::Path;

use refinery::Runner;
use rusqlite::{Connection, OptionalExtension};

use super::error::describe;
use super::file::open;

mod store {
    refinery::embed_migrations!("migrations/sqlite_store");
}

mod queue {
    refinery::embed_migrations!("migrations/sqlite_queue");
}

/// Files up to this size are read whole at the start, to find damage before it is built upon; it
/// takes about a second on a common disk.
const CHECKED_BYTES_MAX: u64 = 256 << 20;

/// What a file holds.
pub(super) struct Schema {
    /// Its name in the data directory.
    pub file: &'static str,
    /// `PRAGMA application_id`: tells our files from other databases.
    application_id: i32,
    runner: fn() -> Runner,
}

/// Activities, dead letters, and what they belong to.
pub(super) const STORE: Schema =
    Schema { file: "store.db", application_id: 0x5472_706B, runner: store::migrations::runner };
/// Messages on their way.
pub(super) const QUEUE: Schema =
    Schema { file: "queue.db", application_id: 0x5472_7071, runner: queue::migrations::runner };

/// Checks the file and migrates it; gives the names of the migrations that were applied now.
///
/// # Errors
/// A sentence; the file is left as it was.
pub(super) fn migrate(path: &Path, schema: &Schema) -> Result<Vec<String>, String> {
    if fs::metadata(path).map_err(|error| error.to_string())?.len() > 0 {
        check(path, schema)?;
    }
    let mut connection = open(path).map_err(|error| describe(&error))?;
    let report = (schema.runner)().run(&mut connection).map_err(|error| explain(&error))?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// Looks at a file before anything is written to it.
fn check(path: &Path, schema: &Schema) -> Result<(), String> {
    let connection = Connection::open(path).map_err(|error| describe(&error))?;
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get(0));
    let application_id: i32 = number("application_id").map_err(|error| describe(&error))?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| describe(&error))?;
    // A first start that was cut short leaves an empty database.
    if application_id != schema.application_id && tables > 0 && !is_half_made(&connection) {
        return Err("it is a database of something else, and is left as it is".to_owned());
    }
    if fs::metadata(path).is_ok_and(|file| file.len() > CHECKED_BYTES_MAX) {
        return Ok(());
    }
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| describe(&error))?;
    match verdict.as_str() {
        "ok" => Ok(()),
        _ => Err("the file is damaged: restore it from a backup; it is left as it is".to_owned()),
    }
}

/// Whether there is nothing but the migrations' own table, empty: it is made in a transaction of
/// its own, before the first migration.
fn is_half_made(connection: &Connection) -> bool {
    let others = "SELECT count(*) FROM sqlite_schema
                  WHERE tbl_name != 'refinery_schema_history'";
    let applied = "SELECT count(*) FROM refinery_schema_history";
    [others, applied].iter().all(|sql| {
        connection.query_row(sql, [], |row| row.get(0)).is_ok_and(|count: i64| count == 0)
    })
}

/// Makes sure that a file has the schema of this code.
///
/// # Errors
/// A sentence that says what to do.
pub(super) fn expect_current(connection: &Connection, schema: &Schema) -> Result<(), String> {
    let found: Option<i32> = connection
        .query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))
        .optional()
        .map_err(|error| describe(&error))?
        .flatten();
    let runner = (schema.runner)();
    let wanted = runner.get_migrations().iter().map(|migration| migration.version()).max();
    match found.map(i64::from).cmp(&wanted.map(i64::from)) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => {
            Err("its schema is older than this version: stop `trailpad serve` and run `trailpad migrate`".into())
        }
        std::cmp::Ordering::Greater => Err(NEWER.into()),
    }
}

const NEWER: &str =
    "it was migrated by a newer version of trailpad: use that one, or restore a backup";

fn explain(error: &refinery::Error) -> String {
    use refinery::error::Kind;
    match error.kind() {
        Kind::DivergentVersion(theirs, ours) => {
            format!("it was migrated by another version ({theirs}) than this one has ({ours})")
        }
        Kind::MissingVersion(_) => NEWER.to_owned(),
        Kind::Connection(_, source) => match source.downcast_ref::<rusqlite::Error>() {
            Some(error) => describe(error),
            None => "a migration failed and was rolled back".to_owned(),
        },
        _ => "a migration failed and was rolled back".to_owned(),
    }
}
