//! Locked tables, as maintenance may lock them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;
use trailpad_common::store::StoreBackend;
use trailpad_engines::postgres::PostgresBackend;
use trailpad_tests::http::post;
use trailpad_tests::postgres::connect;
use trailpad_tests::{Sandbox, wait_until};

use super::{SOON, activity};

const LONG: Duration = Duration::from_secs(90);

/// Locks the table `webhooks` until the returned connection commits.
async fn lock(sandbox: &Sandbox) -> Client {
    let client =
        connect(&sandbox.database_url).await.expect("PostgreSQL should accept a connection");
    client.batch_execute("BEGIN; LOCK TABLE webhooks").await.expect("locking should succeed");
    client
}

async fn unlock(client: Client) {
    client.batch_execute("COMMIT").await.expect("unlocking should succeed");
}

/// Waits until this number of connections of a role have waited for the lock, one after another.
async fn wait_lock_waiters(sandbox: &Sandbox, role: &str, wanted: usize) {
    let sql = format!(
        "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'trailpad {role}' AND wait_event_type = 'Lock'"
    );
    let mut seen = HashSet::new();
    let count = async || {
        let waiting = sandbox.texts(&sql).await;
        assert!(waiting.len() <= 1, "more than one connection of the {role} waits: {waiting:?}");
        seen.extend(waiting);
        seen.len()
    };
    wait_until(role, LONG, count, |seen| *seen >= wanted).await;
}

#[tokio::test]
async fn while_a_table_is_locked_no_role_piles_up_connections_and_then_all_recover() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let worker = sandbox.worker(&[]).await;
    let lock = lock(&sandbox).await;
    let url = webhook.url(&gateway).await;
    assert_eq!(post(&url, &activity("a")).await.status, 202);
    tokio::join!(
        wait_lock_waiters(&sandbox, "gateway", 4),
        wait_lock_waiters(&sandbox, "worker", 2)
    );
    worker.wait_unready("store").await;
    unlock(lock).await;
    sandbox.wait_rows(1, SOON).await;
    worker.wait_ready().await;
    let new = sandbox.webhook("New").await;
    assert_eq!(post(&new.url(&gateway).await, &activity("b")).await.status, 202);
}

#[tokio::test]
async fn an_abandoned_statement_delays_no_other_query() {
    let sandbox = Sandbox::new().await;
    sandbox.seed().await;
    let postgres = PostgresBackend::new(&sandbox.database_url, "test")
        .expect("the database URL should be valid");
    let admin = postgres.administration().expect("creating the administration should succeed");
    let acme = admin.workspace("Acme").await.expect("workspace Acme should exist").id;
    let lock = lock(&sandbox).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    tokio::select! {
        listed = admin.webhooks(None) => panic!("the table should be locked: {listed:?}"),
        () = sandbox.wait_number(waiting, 1, SOON) => {}
    }
    let members = timeout(Duration::from_secs(10), admin.members(acme)).await;
    assert_eq!(
        members
            .expect("the query should not wait for the lock")
            .expect("listing members should succeed")
            .len(),
        1
    );
    sandbox.wait_number(waiting, 0, SOON).await;
    unlock(lock).await;
    assert_eq!(admin.webhooks(None).await.expect("listing webhooks should succeed").len(), 1);
}

#[tokio::test]
async fn the_first_load_of_the_registry_may_take_longer_than_a_refresh() {
    let sandbox = Sandbox::new().await;
    sandbox.seed().await;
    let postgres = PostgresBackend::new(&sandbox.database_url, "test")
        .expect("the database URL should be valid");
    let mut feed = postgres.webhook_feed().expect("the webhook feed should open");
    let lock = lock(&sandbox).await;
    let slow = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
                  AND clock_timestamp() - query_start > interval '4 s'";
    let unlocked = async {
        sandbox.wait_number(slow, 1, SOON).await;
        unlock(lock).await;
    };
    let (loaded, ()) = tokio::join!(feed.changes_since(0), unlocked);
    assert_eq!(loaded.expect("the load should succeed").webhooks.len(), 1);
}
