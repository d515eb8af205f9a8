//! Checks the database files, and migrates their schemas to the version of this code.

use std::fs;
use std::path::Path;

use refinery::{Migration, Runner};
use rusqlite::{Connection, OptionalExtension};

use super::error::describe;
use super::file::open;
use super::free_pages;
use super::look::look;

mod store {
    refinery::embed_migrations!("migrations/sqlite_store");
}

mod queue {
    refinery::embed_migrations!("migrations/sqlite_queue");
}

/// Files up to this size are checked completely at the start, to detect damage before more data is
/// written. The check of such a file takes about a second on a common disk.
const CHECKED_BYTES_MAX: u64 = 256 << 20;

/// The schema of one database file.
pub(super) struct Schema {
    /// Name of the file in the data directory.
    pub file: &'static str,
    /// `PRAGMA application_id`: distinguishes the file from databases of other applications.
    application_id: i32,
    runner: fn() -> Runner,
}

/// Workspaces, webhooks, activities and dead letters.
pub(super) const STORE: Schema =
    Schema { file: "store.db", application_id: 0x5472_706B, runner: store::migrations::runner };
/// Messages of the queue.
pub(super) const QUEUE: Schema =
    Schema { file: "queue.db", application_id: 0x5472_7071, runner: queue::migrations::runner };

/// Checks the file and migrates it; returns the names of the migrations that it applied.
///
/// # Errors
/// A text for an operator. A file that is refused is left unchanged.
pub(super) fn migrate(path: &Path, schema: &Schema) -> Result<Vec<String>, String> {
    if fs::metadata(path).map_err(|error| error.to_string())?.len() > 0 {
        check(path, schema)?;
    }
    let mut connection = open(path).map_err(|error| describe(&error))?;
    let report =
        (schema.runner)().run(&mut connection).map_err(|error| describe_migration_error(&error))?;
    free_pages::convert(&connection, path);
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// Checks a file before anything is written to it.
fn check(path: &Path, schema: &Schema) -> Result<(), String> {
    let is_checked_completely =
        fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_BYTES_MAX);
    let refusal = look(path, |connection| refusal(connection, schema, is_checked_completely));
    refusal.map_err(|error| describe(&error))?.map_or(Ok(()), Err)
}

/// Returns the reason to refuse the file.
fn refusal(
    connection: &Connection,
    schema: &Schema,
    is_checked_completely: bool,
) -> rusqlite::Result<Option<String>> {
    let application_id: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    // An interrupted first start leaves an empty database.
    if tables == 0 || is_interrupted_first_start(connection) {
        return Ok(None);
    }
    if application_id != schema.application_id {
        return Ok(Some("it is a database of something else; it is left unchanged".to_owned()));
    }
    if is_checked_completely {
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            let reason = "the file is damaged: restore it from a backup; it is left unchanged";
            return Ok(Some(reason.to_owned()));
        }
    }
    foreign_migration(connection, schema)
}

/// Returns the reason to refuse a file whose applied migrations are not those of this version.
fn foreign_migration(connection: &Connection, schema: &Schema) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT version, checksum, name FROM refinery_schema_history ORDER BY version";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let runner = (schema.runner)();
    while let Some(row) = rows.next()? {
        let version: i64 = row.get("version")?;
        let is_it = |migration: &&Migration| i64::from(migration.version()) == version;
        let Some(migration) = runner.get_migrations().iter().find(is_it) else {
            return Ok(Some(NEWER.to_owned()));
        };
        let checksum = row.get_ref("checksum")?.as_str()?;
        if checksum != migration.checksum().to_string() {
            let name = row.get_ref("name")?.as_str()?;
            return Ok(Some(divergent(&format!("V{version}__{name}"), migration)));
        }
    }
    Ok(None)
}

fn divergent(applied: &str, expected: &Migration) -> String {
    format!("its migration {applied} differs from {expected} of this version")
}

/// `true` if the database holds only an empty table of applied migrations, which is created in a
/// separate transaction before the first migration.
fn is_interrupted_first_start(connection: &Connection) -> bool {
    let others = "SELECT count(*) FROM sqlite_schema
                  WHERE tbl_name != 'refinery_schema_history'";
    let applied = "SELECT count(*) FROM refinery_schema_history";
    [others, applied].iter().all(|sql| {
        connection.query_row(sql, [], |row| row.get(0)).is_ok_and(|count: i64| count == 0)
    })
}

/// Reads the version of the schema. `None` if no migration was applied.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<Option<i32>> {
    let sql = "SELECT max(version) FROM refinery_schema_history";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?.flatten())
}

/// Checks that a file of this version of the schema can be used by this code.
///
/// # Errors
/// A text for an operator, with the action to take.
pub(super) fn expect_current(found: Option<i32>, schema: &Schema) -> Result<(), String> {
    let runner = (schema.runner)();
    let wanted = runner.get_migrations().iter().map(|migration| migration.version()).max();
    match found.map(i64::from).cmp(&wanted.map(i64::from)) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => {
            Err("its schema is older than this version: stop the server and run `trailpad migrate`"
                .into())
        }
        std::cmp::Ordering::Greater => Err(NEWER.into()),
    }
}

const NEWER: &str =
    "it was migrated by a newer version of Trailpad: use that version, or restore a backup";

fn describe_migration_error(error: &refinery::Error) -> String {
    use refinery::error::Kind;
    match error.kind() {
        Kind::DivergentVersion(applied, expected) => divergent(&applied.to_string(), expected),
        Kind::MissingVersion(_) => NEWER.to_owned(),
        Kind::Connection(_, source) => match source.downcast_ref::<rusqlite::Error>() {
            Some(error) => describe(error),
            None => "a migration failed and was rolled back".to_owned(),
        },
        _ => "a migration failed and was rolled back".to_owned(),
    }
}
