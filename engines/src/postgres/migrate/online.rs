//! Online migrations: they build and drop indexes while workers write.
//!
//! A migration whose name ends with `_online` runs statement by statement, without a transaction. If
//! it is interrupted, the next run repeats it from its first statement.

use refinery::Migration;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

const SUFFIX: &str = "_online";
const CREATE: [&str; 2] =
    ["CREATE INDEX CONCURRENTLY IF NOT EXISTS ", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "];
const DROP: &str = "DROP INDEX CONCURRENTLY IF EXISTS ";

/// An interrupted build leaves an index that slows down every write and answers no query, and `IF
/// NOT EXISTS` would take it for the finished index (PostgreSQL, CREATE INDEX, "Building Indexes
/// Concurrently").
const IS_INVALID: &str =
    "SELECT FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid";

pub fn is_online(migration: &Migration) -> bool {
    migration.name().ends_with(SUFFIX)
}

pub async fn run(client: &Client, migration: &Migration) -> Result<(), Error> {
    for statement in statements(migration.sql().unwrap_or_default()) {
        if let Some(index) = created_index(&statement) {
            let invalid = client.query_typed_opt(IS_INVALID, &[(&index, Type::TEXT)]).await?;
            if invalid.is_some() {
                client.batch_execute(&format!("{DROP}{index}")).await?;
            }
        }
        client.batch_execute(&statement).await?;
    }
    Ok(())
}

/// The statements of a file, without comments and with single spaces. A statement must not contain
/// `;` or `--` in a string.
fn statements(sql: &str) -> Vec<String> {
    let code: Vec<&str> =
        sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let statements = code.join("\n");
    let words = |statement: &str| statement.split_whitespace().collect::<Vec<_>>().join(" ");
    statements.split(';').map(words).filter(|statement| !statement.is_empty()).collect()
}

fn created_index(statement: &str) -> Option<&str> {
    CREATE.iter().find_map(|create| statement.strip_prefix(create)?.split(' ').next())
}

#[cfg(test)]
mod tests {
    use super::super::MIGRATIONS;
    use super::*;

    /// Migrations up to this version are released, and build their indexes in a transaction.
    const LAST_WITHOUT_RULE: i32 = 6;

    /// The first fault of a migration file against the rule for indexes, in `engines/README.md`.
    fn fault(migration: &Migration) -> Option<String> {
        let statements = statements(migration.sql().unwrap_or_default());
        let created: Vec<&str> =
            statements.iter().filter_map(|sql| sql.strip_prefix("CREATE TABLE ")).collect();
        let is_new = |index: &str| {
            let table = index.split(" ON ").nth(1).unwrap_or_default();
            let table = table.split([' ', '(']).next().unwrap_or_default();
            created.iter().any(|created| created.split([' ', '(']).next() == Some(table))
        };
        let is_allowed = |sql: &&String| {
            let is_index =
                sql.starts_with("CREATE INDEX") || sql.starts_with("CREATE UNIQUE INDEX");
            if is_online(migration) {
                created_index(sql).is_some() || sql.starts_with(DROP)
            } else {
                !sql.contains("CONCURRENTLY") && (!is_index || is_new(sql))
            }
        };
        statements.iter().find(|sql| !is_allowed(sql)).cloned()
    }

    fn migration(name: &str, sql: &str) -> Migration {
        Migration::unapplied(name, sql).expect("the name should be valid")
    }

    #[test]
    fn every_new_migration_builds_indexes_of_existing_tables_online() {
        let new = MIGRATIONS.iter().filter(|new| new.version() > LAST_WITHOUT_RULE);
        let faults: Vec<String> =
            new.filter_map(|new| Some(format!("{new}: {}", fault(new)?))).collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }

    #[test]
    fn the_rule_for_indexes_finds_every_fault() {
        let table = "CREATE TABLE t (id uuid); CREATE INDEX t_id ON t (id);";
        for (name, sql, is_allowed) in [
            ("V7__x", table, true),
            ("V7__x", "ALTER TABLE t ADD COLUMN x int; -- CREATE INDEX", true),
            ("V7__x", "CREATE INDEX t_id ON t (id)", false),
            ("V7__x", "CREATE UNIQUE INDEX\n t_id ON t (id)", false),
            ("V7__x", "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_id ON t (id)", false),
            ("V7__x_online", "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_id ON t (id)", true),
            ("V7__x_online", "DROP INDEX CONCURRENTLY IF EXISTS t_id", true),
            ("V7__x_online", "CREATE INDEX CONCURRENTLY t_id ON t (id)", false),
            ("V7__x_online", "DROP INDEX t_id", false),
            ("V7__x_online", "ALTER TABLE t ADD COLUMN x int", false),
        ] {
            assert_eq!(fault(&migration(name, sql)).is_none(), is_allowed, "{name}: {sql}");
        }
    }

    #[test]
    fn a_file_is_split_into_statements_without_comments() {
        let sql = "-- For lists.\nCREATE INDEX\n  a ON t (x); -- one\n\nDROP INDEX b;\n";
        assert_eq!(statements(sql), ["CREATE INDEX a ON t (x)", "DROP INDEX b"]);
        assert_eq!(
            created_index("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS a ON t (x)"),
            Some("a")
        );
        assert_eq!(created_index("DROP INDEX CONCURRENTLY IF EXISTS a"), None);
    }
}
