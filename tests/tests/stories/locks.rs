//! What happens while somebody else locks a table, as maintenance does.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;
use trailpad_common::admin::Admin;
use trailpad_common::webhook::WebhookFeed;
use trailpad_engines::postgres::{Config, PostgresAdmin, PostgresWebhookFeed};
use trailpad_tests::http::post;
use trailpad_tests::postgres::connect;
use trailpad_tests::{Sandbox, wait_until};

use super::{SOON, activity};

const LONG: Duration = Duration::from_secs(90);

/// Locks the webhooks until it commits.
async fn lock(sandbox: &Sandbox) -> Client {
    let client = connect(&sandbox.database_url).await.expect("PostgreSQL");
    client.batch_execute("BEGIN; LOCK TABLE webhooks").await.expect("locked");
    client
}

async fn unlock(client: Client) {
    client.batch_execute("COMMIT").await.expect("unlocked");
}

/// Waits until so many connections of a role have waited for the lock, one after another.
async fn wait_given_up(sandbox: &Sandbox, role: &str, wanted: usize) {
    let sql = format!(
        "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database()
         AND application_name = 'trailpad {role}' AND wait_event_type = 'Lock'"
    );
    let mut seen = HashSet::new();
    let look = async || {
        let waiting = sandbox.texts(&sql).await;
        assert!(waiting.len() <= 1, "the {role} left some behind: {waiting:?}");
        seen.extend(waiting);
        seen.len()
    };
    wait_until(role, LONG, look, |seen| *seen >= wanted).await;
}

#[tokio::test]
async fn while_a_table_is_locked_no_role_piles_up_connections_and_then_all_goes_on() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let (gateway, worker) = (sandbox.gateway(&[]).await, sandbox.worker(&[]).await);
    let lock = lock(&sandbox).await;
    let url = webhook.url(&gateway).await;
    assert_eq!(post(&url, &activity("a")).await.status, 202);
    tokio::join!(wait_given_up(&sandbox, "gateway", 4), wait_given_up(&sandbox, "worker", 2));
    worker.wait_unready("store").await;
    unlock(lock).await;
    sandbox.wait_rows(1, SOON).await;
    worker.wait_ready().await;
    let new = sandbox.webhook("New").await;
    assert_eq!(post(&new.url(&gateway).await, &activity("b")).await.status, 202);
}

#[tokio::test]
async fn nobody_waits_for_a_statement_that_somebody_else_gave_up() {
    let sandbox = Sandbox::new().await;
    sandbox.seed().await;
    let admin = PostgresAdmin::new(&Config::parse(&sandbox.database_url, "test").expect("a URL"));
    let acme = admin.workspace("Acme").await.expect("seeded").id;
    let lock = lock(&sandbox).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    tokio::select! {
        listed = admin.webhooks(None) => panic!("it is locked: {listed:?}"),
        () = sandbox.wait_number(waiting, 1, SOON) => {}
    }
    let members = timeout(Duration::from_secs(10), admin.members(acme)).await;
    assert_eq!(members.expect("at once").expect("listed").len(), 1);
    sandbox.wait_number(waiting, 0, SOON).await;
    unlock(lock).await;
    assert_eq!(admin.webhooks(None).await.expect("listed").len(), 1);
}

#[tokio::test]
async fn the_first_load_of_the_webhooks_may_take_longer_than_a_refresh() {
    let sandbox = Sandbox::new().await;
    sandbox.seed().await;
    let config = Config::parse(&sandbox.database_url, "test").expect("a URL");
    let mut directory = PostgresWebhookFeed::new(config);
    let lock = lock(&sandbox).await;
    let slow = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'
                  AND clock_timestamp() - query_start > interval '4 s'";
    let unlocked = async {
        sandbox.wait_number(slow, 1, SOON).await;
        unlock(lock).await;
    };
    let (loaded, ()) = tokio::join!(directory.changes_since(0), unlocked);
    assert_eq!(loaded.expect("loaded").webhooks.len(), 1);
}
