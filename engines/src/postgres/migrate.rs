//! Migrates the schema to the version of this code.

use std::time::Duration;

use tokio_postgres::types::Type;
use tracing::info;
use trailpad_common::failure::Unavailable;

use super::connect::Config;
use super::error::unavailable;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// Advisory lock held while migrating, so that several processes may start at once. The number is
/// arbitrary.
const MIGRATION_LOCK: i64 = 0x7472_6169_6c70_6164;
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Migrates the database; returns the names of the migrations that it applied.
///
/// Needs a direct connection, not one through a transaction pooler: the advisory lock belongs to
/// the session.
///
/// # Errors
/// The database is unavailable, or a migration failed and was rolled back.
pub async fn migrate(config: &Config) -> Result<Vec<String>, Unavailable> {
    let (mut client, driver) = config.connect().await?;
    acquire_lock(&client).await?;
    let report = embedded::migrations::runner().run_async(&mut client).await;
    // The end of the session releases the lock.
    drop(client);
    let _ = driver.await;
    let report = report.map_err(|error| Unavailable(describe_migration_error(&error)))?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

async fn acquire_lock(client: &tokio_postgres::Client) -> Result<(), Unavailable> {
    let mut waiting = false;
    loop {
        let row = client
            .query_typed_one("SELECT pg_try_advisory_lock($1)", &[(&MIGRATION_LOCK, Type::INT8)])
            .await
            .map_err(|error| unavailable(&error))?;
        if row.get(0) {
            return Ok(());
        }
        if !std::mem::replace(&mut waiting, true) {
            info!("waiting for another process that is migrating the database");
        }
        tokio::time::sleep(LOCK_POLL_INTERVAL).await;
    }
}

fn describe_migration_error(error: &refinery::Error) -> String {
    use refinery::error::Kind;
    match error.kind() {
        Kind::DivergentVersion(applied, expected) => {
            format!("migration {applied} of the database differs from {expected} of this version")
        }
        Kind::MissingVersion(migration) => format!(
            "the database was migrated by a newer version: this version does not have migration {migration}"
        ),
        _ => "a migration failed and was rolled back".to_owned(),
    }
}
