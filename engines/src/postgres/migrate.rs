//! Migrations: the schema, brought to the version of this code.

use std::time::Duration;

use tokio_postgres::types::Type;
use tracing::info;
use trailpad_common::failure::Unavailable;

use super::connect::Config;
use super::error::unavailable;

mod embedded {
    refinery::embed_migrations!("migrations/postgres");
}

/// Held while migrating, so that several processes may start at once. Any constant will do.
const MIGRATION_LOCK: i64 = 0x7472_6169_6c70_6164;
const LOCK_POLL: Duration = Duration::from_millis(200);

/// Migrates the database; gives the names of the migrations that were applied now.
///
/// Needs a connection that is one session from beginning to end, not one through a transaction
/// pooler.
///
/// # Errors
/// The database is away, or a migration failed and was rolled back.
pub async fn migrate(config: &Config) -> Result<Vec<String>, Unavailable> {
    let (mut client, driver) = config.connect().await?;
    lock(&client).await?;
    let report = embedded::migrations::runner().run_async(&mut client).await;
    // The lock goes with the session.
    drop(client);
    let _ = driver.await;
    let report = report.map_err(|error| Unavailable(describe(&error)))?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

async fn lock(client: &tokio_postgres::Client) -> Result<(), Unavailable> {
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
            info!("another process migrates the database: waiting for it");
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

fn describe(error: &refinery::Error) -> String {
    use refinery::error::Kind;
    match error.kind() {
        Kind::DivergentVersion(theirs, ours) => format!(
            "the database was migrated by another version ({theirs}) than this one has ({ours})"
        ),
        Kind::MissingVersion(migration) => format!(
            "the database has a migration that this version does not know ({migration}): it was migrated by a newer one"
        ),
        _ => "a migration failed and was rolled back".to_owned(),
    }
}
