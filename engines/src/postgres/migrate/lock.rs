//! The lock that lets one process migrate at a time.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage};
use tracing::warn;
use trailpad_common::failure::Unavailable;

use crate::postgres::connect::Config;
use crate::postgres::error::unavailable;

/// Advisory lock held while migrating, so that several processes may start at once. The number is
/// arbitrary, and also that of the session lock of earlier versions, so the two exclude each other.
const MIGRATION_LOCK: i64 = 0x7472_6169_6c70_6164;
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// `READ COMMITTED`, because the snapshot of a stricter transaction would hold up `CREATE INDEX
/// CONCURRENTLY`. The limits of idle transactions may be settings of the database or the user;
/// `transaction_timeout` exists since PostgreSQL 17.
const BEGIN: &str = "
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('idle_in_transaction_session_timeout', 'transaction_timeout')";

/// Another session that holds the lock. `pg_locks` has its number in two halves.
const HOLDER: &str = "
SELECT l.pid, a.application_name
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = $1
LIMIT 1
";

const OLDEST_TRANSACTION: &str = "
SELECT pid, application_name, extract(epoch FROM now() - xact_start)::bigint AS seconds
FROM pg_stat_activity
WHERE datname = current_database() AND xact_start IS NOT NULL
  AND pid NOT IN (pg_backend_pid(), $1)
ORDER BY xact_start LIMIT 1
";

/// A transaction that holds the lock until it ends, on a connection of its own. A session lock would
/// stay on a pooler's connection after its session.
pub struct Lock {
    client: Client,
    _driver: JoinHandle<()>,
    pid: i32,
}

impl Lock {
    /// Waits for the lock; while it waits, it logs the holder.
    ///
    /// # Errors
    /// The database is unavailable, or another process held the lock for the whole time.
    pub async fn acquire(config: &Config) -> Result<Self, Unavailable> {
        let (client, driver) = config.connect().await?;
        let began = Instant::now();
        let mut logged = None;
        loop {
            if let Some(pid) = try_lock(&client).await? {
                return Ok(Self { client, _driver: driver, pid });
            }
            let holder = holder(&client).await?;
            if began.elapsed() >= TIMEOUT {
                return Err(Unavailable(gave_up(holder)));
            }
            if holder != logged {
                if let Some((pid, name)) = &holder {
                    warn!(
                        holder = session(*pid, name),
                        "waiting for another process that migrates"
                    );
                }
                logged = holder;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub async fn release(self) -> Result<(), Unavailable> {
        self.client.batch_execute("COMMIT").await.map_err(|error| unavailable(&error))
    }

    /// Describes the oldest transaction of others, which often holds the lock of a table.
    pub async fn oldest_transaction(&self, client: &Client) -> Result<String, Unavailable> {
        let row = client.query_typed_opt(OLDEST_TRANSACTION, &[(&self.pid, Type::INT4)]).await;
        Ok(match row.map_err(|error| unavailable(&error))? {
            Some(row) => format!(
                "the oldest transaction, {} s, is of {}",
                row.get::<_, i64>("seconds"),
                session(row.get("pid"), &row.get::<_, Option<String>>("application_name"))
            ),
            None => "no other transaction is visible".to_owned(),
        })
    }
}

/// Begins a transaction that holds the lock, and returns the process id of its session; `None` if
/// the lock is not free. A process that waits keeps no transaction, so that it does not occupy a
/// connection of a pooler that the migrating process needs.
///
/// Uses a simple query. The portal of another query would keep its snapshot until the transaction
/// ends, and `CREATE INDEX CONCURRENTLY` waits for every older snapshot.
async fn try_lock(client: &Client) -> Result<Option<i32>, Unavailable> {
    let sql =
        format!("{BEGIN}; SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK}), pg_backend_pid()");
    let messages = client.simple_query(&sql).await.map_err(|error| unavailable(&error))?;
    let last = messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    if last.and_then(|row| row.get(0)) != Some("t") {
        client.batch_execute("ROLLBACK").await.map_err(|error| unavailable(&error))?;
        return Ok(None);
    }
    Ok(last.and_then(|row| row.get(1)?.parse().ok()))
}

type Holder = (i32, Option<String>);

async fn holder(client: &Client) -> Result<Option<Holder>, Unavailable> {
    let row = client.query_typed_opt(HOLDER, &[(&MIGRATION_LOCK, Type::INT8)]).await;
    let row = row.map_err(|error| unavailable(&error))?;
    Ok(row.map(|row| (row.get("pid"), row.get("application_name"))))
}

/// PostgreSQL hides the names of other users' sessions.
fn session(pid: i32, name: &Option<String>) -> String {
    match name.as_deref() {
        None | Some("") => format!("pid {pid}"),
        Some(name) => format!("pid {pid} ({name})"),
    }
}

fn gave_up(holder: Option<Holder>) -> String {
    let seconds = TIMEOUT.as_secs();
    match holder {
        Some((pid, name)) => format!(
            "another process has held the lock of migrations for {seconds} s: {}; wait for it, or \
             if it does not migrate, run SELECT pg_terminate_backend({pid})",
            session(pid, &name)
        ),
        None => format!("the lock of migrations was not free for {seconds} s: try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_gives_up_names_the_holder() {
        let text = gave_up(Some((7, Some("trailpad command".into()))));
        assert!(text.contains("pid 7 (trailpad command)"), "{text}");
        assert!(text.contains("pg_terminate_backend(7)"), "{text}");
        assert!(gave_up(Some((7, Some(String::new())))).contains(": pid 7;"));
    }
}
