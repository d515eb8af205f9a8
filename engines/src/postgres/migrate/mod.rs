//! Migrates the schema to the version of this code.
//!
//! refinery embeds the files and numbers them. It runs every migration in a transaction without a
//! limit for locks, so this module runs them, and records them in refinery's table.

mod lock;
mod online;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chrono::Utc;
use refinery::Migration;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, IsolationLevel};
use tracing::warn;
use trailpad_common::failure::{Unavailable, chain};

use super::connect::Config;
use super::encoding::check_encoding;
use super::error::unavailable;
use lock::Lock;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// The table of refinery that records the applied migrations.
pub(super) const HISTORY: &str = "refinery_schema_history";

/// While a statement waits for the lock of a table, every later statement on the table waits behind
/// it, so the wait is short and repeated.
const TABLE_LOCK_TIMEOUT: &str = "2s";
/// After this time without the lock of a table, a migration fails.
const TABLE_LOCKS_TIMEOUT: Duration = Duration::from_secs(90);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(8);

static MIGRATIONS: LazyLock<Vec<Migration>> = LazyLock::new(|| {
    let mut migrations = embedded::migrations::runner().get_migrations().clone();
    migrations.sort();
    migrations
});

/// The version of the schema that this code needs. Roles do not need online migrations: these only
/// build indexes, which may take hours.
pub(super) fn schema_version() -> i32 {
    let needed = MIGRATIONS.iter().filter(|migration| !online::is_online(migration));
    needed.map(Migration::version).max().unwrap_or(0)
}

/// Migrates the database; returns the names of the migrations that it applied.
///
/// Works through a transaction pooler, if the pooler allows two connections.
///
/// # Errors
/// The database is unavailable or not UTF-8, another process migrates for longer than a minute, or
/// a migration failed and was rolled back.
pub async fn migrate(config: &Config) -> Result<Vec<String>, Unavailable> {
    apply(config, &MIGRATIONS).await
}

/// Migrates a database with other files, given as pairs of a name such as `V1__first` and SQL.
///
/// # Errors
/// As `migrate`; or a name is not valid.
pub async fn migrate_files(
    config: &Config,
    files: &[(&str, &str)],
) -> Result<Vec<String>, Unavailable> {
    let migration = |(name, sql): &(&str, &str)| Migration::unapplied(name, sql);
    let migrations: Result<Vec<Migration>, _> = files.iter().map(migration).collect();
    apply(config, &migrations.map_err(|error| Unavailable(chain(&error)))?).await
}

async fn apply(config: &Config, migrations: &[Migration]) -> Result<Vec<String>, Unavailable> {
    let lock = Lock::acquire(config).await?;
    let (mut client, _driver) = config.connect().await?;
    check_encoding(&client).await.map_err(|error| Unavailable(error.to_string()))?;
    let applied = applied(&mut client).await?;
    let mut names = Vec::new();
    for migration in pending(migrations, &applied).map_err(Unavailable)? {
        if online::is_online(migration) {
            online::run(&client, migration).await.map_err(|error| failed(migration, &error))?;
            record(&client, migration).await.map_err(|error| failed(migration, &error))?;
        } else {
            run(&mut client, migration, &lock).await?;
        }
        names.push(migration.to_string());
    }
    lock.release().await?;
    Ok(names)
}

/// A row of refinery's table.
#[derive(Clone, Debug, PartialEq)]
struct Applied {
    version: i32,
    name: String,
    checksum: String,
}

impl Applied {
    fn label(&self) -> String {
        format!("V{}__{}", self.version, self.name)
    }
}

/// Creates refinery's table if it does not exist, and reads it.
async fn applied(client: &mut Client) -> Result<Vec<Applied>, Unavailable> {
    let exists = format!("SELECT to_regclass('{HISTORY}') IS NOT NULL AS exists");
    let row = client.query_typed_one(&exists, &[]).await.map_err(|error| unavailable(&error))?;
    if !row.get::<_, bool>("exists") {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {HISTORY} (version int4 PRIMARY KEY, name varchar(255),
                                                   applied_on varchar(255), checksum varchar(255))"
        );
        client
            .batch_execute(&create)
            .await
            .map_err(|error| Unavailable(format!("can't create {HISTORY}: {}", cause(&error))))?;
    }
    let sql = format!("SELECT version, name, checksum FROM {HISTORY} ORDER BY version");
    let rows = client.query_typed(&sql, &[]).await.map_err(|error| unavailable(&error))?;
    let applied = rows.iter().map(|row| Applied {
        version: row.get("version"),
        name: row.get("name"),
        checksum: row.get("checksum"),
    });
    Ok(applied.collect())
}

/// The migrations that are not applied, in their order.
///
/// # Errors
/// The applied migrations are not the first ones of `migrations`.
fn pending<'m>(
    migrations: &'m [Migration],
    applied: &[Applied],
) -> Result<Vec<&'m Migration>, String> {
    for row in applied {
        let Some(known) = migrations.iter().find(|known| known.version() == row.version) else {
            return Err(format!(
                "the database was migrated by a newer version: this version does not have \
                 migration {}",
                row.label()
            ));
        };
        if known.name() != row.name || known.checksum().to_string() != row.checksum {
            return Err(format!(
                "migration {} of the database differs from {known} of this version",
                row.label()
            ));
        }
    }
    let last = applied.iter().map(|row| row.version).max().unwrap_or(0);
    let is_applied =
        |migration: &Migration| applied.iter().any(|row| row.version == migration.version());
    let mut pending: Vec<&Migration> =
        migrations.iter().filter(|migration| !is_applied(migration)).collect();
    pending.sort();
    match pending.iter().find(|migration| migration.version() < last) {
        Some(skipped) => Err(format!(
            "the database has no migration {skipped}, but a later one: restore {HISTORY}"
        )),
        None => Ok(pending),
    }
}

/// Runs a migration in one transaction. Repeats it while another transaction holds the lock of a
/// table.
async fn run(client: &mut Client, migration: &Migration, lock: &Lock) -> Result<(), Unavailable> {
    let began = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let Err(error) = run_once(client, migration).await else { return Ok(()) };
        if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
            return Err(failed(migration, &error));
        }
        let blocker = lock.oldest_transaction(client).await?;
        if began.elapsed() >= TABLE_LOCKS_TIMEOUT {
            let text = format!(
                "migration {migration} was rolled back: a table it changes was locked for {} s; \
                 {blocker}",
                began.elapsed().as_secs()
            );
            return Err(Unavailable(text));
        }
        warn!(%migration, blocker, "waiting for the lock of a table");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn run_once(client: &mut Client, migration: &Migration) -> Result<(), Error> {
    // `SET LOCAL`, because a session's settings would stay on a pooler's connection. The other
    // limits may be settings of the database or the user, and are meant for short statements.
    let limits = format!(
        "SET LOCAL lock_timeout = '{TABLE_LOCK_TIMEOUT}'; SET LOCAL statement_timeout = 0;
         SET LOCAL idle_in_transaction_session_timeout = 0"
    );
    let transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted);
    let transaction = transaction.start().await?;
    transaction.batch_execute(&limits).await?;
    transaction.batch_execute(migration.sql().unwrap_or_default()).await?;
    record(transaction.client(), migration).await?;
    transaction.commit().await
}

/// Records an applied migration as refinery does.
async fn record(client: &Client, migration: &Migration) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO {HISTORY} (version, name, applied_on, checksum) VALUES ($1, $2, $3, $4)"
    );
    let version = migration.version();
    let name = migration.name();
    let applied_on = Utc::now().to_rfc3339();
    let checksum = migration.checksum().to_string();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&version, Type::INT4),
        (&name, Type::VARCHAR),
        (&applied_on, Type::VARCHAR),
        (&checksum, Type::VARCHAR),
    ];
    client.execute_typed(&sql, &parameters).await.map(|_| ())
}

fn failed(migration: &Migration, error: &Error) -> Unavailable {
    let outcome = if online::is_online(migration) {
        "failed, and is continued by the next `trailpad migrate`"
    } else {
        "failed and was rolled back"
    };
    Unavailable(format!("migration {migration} {outcome}: {}", cause(error)))
}

fn cause(error: &Error) -> String {
    let Unavailable(text) = unavailable(error);
    if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        format!(
            "{text}: migrate as the owner of the tables; on a new database, its owner runs GRANT \
             CREATE ON SCHEMA public TO the user"
        )
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrations() -> Vec<Migration> {
        let migration = |name| Migration::unapplied(name, name).expect("the name should be valid");
        ["V1__one", "V2__two", "V3__three"].map(migration).to_vec()
    }

    fn row(migration: &Migration) -> Applied {
        Applied {
            version: migration.version(),
            name: migration.name().to_owned(),
            checksum: migration.checksum().to_string(),
        }
    }

    #[test]
    fn the_migrations_after_the_applied_ones_are_pending() {
        let all = migrations();
        let names = |applied: &[Applied]| -> Result<Vec<String>, String> {
            Ok(pending(&all, applied)?.iter().map(ToString::to_string).collect())
        };
        assert_eq!(names(&[]), Ok(vec!["V1__one".into(), "V2__two".into(), "V3__three".into()]));
        assert_eq!(names(&[row(&all[0]), row(&all[1])]), Ok(vec!["V3__three".into()]));
        assert_eq!(names(&all.iter().map(row).collect::<Vec<_>>()), Ok(Vec::new()));
    }

    #[test]
    fn a_database_with_other_migrations_is_refused() {
        let all = migrations();
        let refused = |applied: &[Applied]| {
            pending(&all, applied).map(drop).expect_err("the migrations differ")
        };
        let newer = Applied { version: 4, name: "four".into(), checksum: "1".into() };
        assert!(refused(&[row(&all[0]), newer]).contains("newer version"));
        let changed = Applied { checksum: "1".into(), ..row(&all[0]) };
        assert!(refused(&[changed]).contains("differs from V1__one"));
        assert!(refused(&[row(&all[2])]).contains("no migration V1__one"));
    }

    #[test]
    fn the_schema_has_the_version_of_the_last_migration() {
        assert!(schema_version() >= 6);
        let last = MIGRATIONS.last().expect("migrations should be embedded");
        assert!(schema_version() <= last.version());
    }
}
