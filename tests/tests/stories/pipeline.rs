//! The way of an activity from its post to a row or a dead letter.

use std::time::Duration;

use serde_json::json;
use trailpad_common::queue::{Destination, MessageKind, QueueBackend};
use trailpad_common::runtime::lifecycle::Health;
use trailpad_engines::rabbitmq::RabbitBackend;
use trailpad_tests::http::{JSON, Seen, flood, post, request};
use trailpad_tests::postgres::connect;
use trailpad_tests::role::Role;
use trailpad_tests::sandbox::binary;
use trailpad_tests::{Sandbox, wait_until};

use super::{SOON, activity};

#[tokio::test]
async fn the_documented_example_becomes_a_row_of_the_webhooks_creator() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let _worker = sandbox.worker(&[]).await;
    let answer = post(&webhook.url(&gateway).await, r#"{"title":"Customer Inquiry Handled","description":"Handled customer inquiry from Jane Doe regarding billing.","startTime":"2024-08-03T11:30:00Z","trigger":"Manual Log","event":"Call Center Log","externalId":"call-log-9876"}"#).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json()["warnings"], json!([]));
    sandbox.wait_rows(1, SOON).await;
    let rows = sandbox.json(&["activity", "list"]).await;
    let row = &rows[0];
    assert_eq!(row["id"], answer.json()["id"]);
    assert_eq!(row["webhookId"], webhook.id.as_str());
    assert_eq!(row["title"], "Customer Inquiry Handled");
    assert_eq!(row["description"], "Handled customer inquiry from Jane Doe regarding billing.");
    assert_eq!(row["startTime"], "2024-08-03T11:30:00.000000Z");
    assert_eq!(row["trigger"], "Manual Log");
    assert_eq!(row["event"], "Call Center Log");
    assert_eq!(row["externalId"], "call-log-9876");
    assert_eq!(row["memberEmail"], "owner@example.com");
}

#[tokio::test]
async fn the_same_external_id_a_thousand_times_over_a_restart_of_the_worker_is_one_row() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let worker = sandbox.worker(&[]).await;
    let url = webhook.url(&gateway).await;
    let sender = tokio::spawn(flood(move || url.clone(), 1_000, 50, |_| activity("the-one")));
    let stored = async || worker.metric("trailpad_worker_stored_total").await;
    wait_until("the first activity is stored", SOON, stored, |stored| *stored >= 1.0).await;
    worker.kill().await;
    let worker = sandbox.worker(&[]).await;
    let seen = sender.await.expect("the sender should not panic");
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    let last = post(&webhook.url(&gateway).await, &activity("another")).await;
    assert_eq!(last.status, 202);
    sandbox
        .wait_number("SELECT count(*) FROM activities WHERE external_id = 'another'", 1, SOON)
        .await;
    wait_drained(&worker).await;
    assert_eq!(sandbox.number("SELECT count(*) FROM activities").await, 2);
}

/// Waits until the worker stores nothing.
async fn wait_drained(worker: &Role) {
    let in_hand = async || worker.metric("trailpad_worker_in_hand_activities").await;
    wait_until("nothing is in hand", SOON, in_hand, |count| *count == 0.0).await;
}

#[tokio::test]
async fn an_activity_of_an_unknown_member_is_dead_lettered_without_affecting_others() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    // Posted before the worker starts, so that the stranger shares a batch with all others.
    let seen = flood(
        move || url.clone(),
        500,
        20,
        |at| {
            if at == 250 {
                r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","externalId":"stranger","memberEmail":"Stranger@Example.com"}"#.into()
            } else {
                activity(&format!("a-{at}"))
            }
        },
    );
    assert!(seen.await.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    let worker = sandbox.worker(&["--retry-schedule", "200ms,300ms"]).await;
    sandbox.wait_rows(499, SOON).await;
    sandbox.wait_number("SELECT count(*) FROM dead_letters", 1, SOON).await;
    let dead = sandbox.json(&["dead-letter", "list"]).await;
    assert_eq!(dead[0]["reason"], "unknown-member");
    assert_eq!(dead[0]["externalId"], "stranger");
    assert_eq!(dead[0]["attempts"], 3);
    assert_eq!(dead[0]["state"], "open");
    assert_eq!(sandbox.number("SELECT count(*) FROM activities").await, 499);
    let metrics = worker.metrics().await;
    assert_eq!(metrics["trailpad_worker_retried_total{reason=\"unknown-member\"}"], 2.0);
    assert_eq!(metrics["trailpad_worker_dead_lettered_total{reason=\"unknown-member\"}"], 1.0);
}

#[tokio::test]
async fn a_member_added_during_the_retries_gets_the_activity() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let worker = sandbox.worker(&["--retry-schedule", "1s,1s,1s,1s,1s,1s"]).await;
    let body =
        r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":" Jane@Example.com"}"#;
    let trace = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let headers = [JSON, trace];
    let url = webhook.url(&gateway).await;
    let answer = request("POST", &url, &headers, body.as_bytes()).await;
    assert_eq!(answer.expect("the request should get a response").status, 202);
    worker.wait_log("activity scheduled for retry").await;
    worker.wait_log(trace.1).await;
    sandbox.cli(&["member", "add", "--workspace", "Acme", "--email", "jane@example.com"]).await;
    sandbox.wait_rows(1, SOON).await;
    let rows = sandbox.json(&["activity", "list"]).await;
    assert_eq!(rows[0]["memberEmail"], "jane@example.com");
}

#[tokio::test]
async fn bisection_dead_letters_only_the_activities_that_the_store_refuses() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    sandbox
        .execute("ALTER TABLE activities ADD CONSTRAINT no_poison CHECK (title <> 'poison')")
        .await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let seen = flood(
        move || url.clone(),
        200,
        20,
        |at| {
            let title = if at % 50 == 7 { "poison" } else { "fine" };
            format!(
                r#"{{"title":"{title}","startTime":"2024-08-03T11:30:00Z","metadata":{{"secret":"SECRET-{at}"}}}}"#
            )
        },
    );
    assert!(seen.await.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    let worker = sandbox.worker(&["--retry-schedule", "100ms"]).await;
    sandbox.wait_rows(196, SOON).await;
    sandbox.wait_number("SELECT count(*) FROM dead_letters", 4, SOON).await;
    let dead = sandbox.json(&["dead-letter", "list"]).await;
    assert_eq!(dead[0]["reason"], "refused-by-store");
    let error = dead[0]["error"].as_str().unwrap_or_default();
    assert!(error.contains("no_poison"), "names the constraint: {error}");
    assert!(
        !error.contains("SECRET") && !worker.log_text().contains("SECRET"),
        "and quotes no payload"
    );
    assert_eq!(sandbox.number("SELECT count(*) FROM activities").await, 196);
}

#[tokio::test]
async fn a_poison_message_that_ends_its_workers_is_the_only_dead_letter() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let seen = flood(
        move || url.clone(),
        100,
        20,
        |at| {
            let title = if at == 50 { "ends its worker" } else { "fine" };
            format!(r#"{{"title":"{title}","startTime":"2024-08-03T11:30:00Z"}}"#)
        },
    );
    assert!(seen.await.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    let mut aborted = 0;
    let began = std::time::Instant::now();
    while let Fragile::Aborted = run_fragile_worker(&sandbox).await {
        aborted += 1;
        assert!(began.elapsed() < Duration::from_secs(120), "{aborted} workers aborted");
    }
    let dead = sandbox.json(&["dead-letter", "list"]).await;
    assert_eq!(dead.as_array().map(Vec::len), Some(1));
    assert_eq!(dead[0]["reason"], "poison-message");
    assert_eq!(sandbox.number("SELECT count(*) FROM activities").await, 99);
    assert!((4..=12).contains(&aborted), "{aborted} workers aborted");
}

#[derive(Debug)]
enum Fragile {
    Aborted,
    /// It has settled the dead letter and stored the other activities.
    Finished,
}

/// Runs a worker whose process aborts when it stores the title "ends its worker". Returns when it has
/// aborted or finished.
async fn run_fragile_worker(sandbox: &Sandbox) -> Fragile {
    let mut command = tokio::process::Command::new(binary("fragile-worker"));
    command.args([&sandbox.database_url, &sandbox.amqp_url, &sandbox.queue]);
    let mut worker = Role::spawn("fragile worker", command);
    let database = connect(&sandbox.database_url).await;
    let database = database.expect("PostgreSQL should accept a connection");
    let outcome = async || {
        if worker.has_ended() {
            return Some(Fragile::Aborted);
        }
        let finished = "SELECT EXISTS (SELECT FROM dead_letters)
                        AND (SELECT count(*) FROM activities) >= 99";
        let finished = database.query_one(finished, &[]).await;
        let finished: bool = finished.expect("the query should return a row").get(0);
        finished.then_some(Fragile::Finished)
    };
    let event = "the fragile worker aborts or finishes";
    let outcome = wait_until(event, Duration::from_secs(120), outcome, Option::is_some).await;
    outcome.expect("the wait should end with an outcome")
}

#[tokio::test]
async fn an_end_posted_after_its_start_updates_the_same_row() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let _worker = sandbox.worker(&[]).await;
    let url = webhook.url(&gateway).await;
    let start = post(&url, &activity("call-1")).await;
    sandbox.wait_rows(1, SOON).await;
    let end = r#"{"title":"Done","startTime":"2024-08-03T11:30:00Z","endTime":"2024-08-03T11:45:00Z","externalId":"call-1","metadata":{"processing":{"onDuplicate":"replace"}}}"#;
    assert_eq!(post(&url, end).await.status, 202);
    sandbox
        .wait_number("SELECT count(*) FROM activities WHERE end_time IS NOT NULL", 1, SOON)
        .await;
    // A repeated start that does not replace changes nothing.
    assert_eq!(post(&url, &activity("call-1")).await.status, 202);
    assert_eq!(post(&url, &activity("call-2")).await.status, 202);
    sandbox.wait_rows(2, SOON).await;
    let rows = sandbox.json(&["activity", "list", "--external-id", "call-1"]).await;
    assert_eq!(rows.as_array().map(Vec::len), Some(1));
    assert_eq!((&rows[0]["id"], &rows[0]["title"]), (&start.json()["id"], &json!("Done")));
}

#[tokio::test]
async fn repeats_with_the_same_idempotency_key_are_one_activity() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let _worker = sandbox.worker(&[]).await;
    let url = webhook.url(&gateway).await;
    let body = r#"{"title":"T","startTime":"2024-08-03T11:30:00Z"}"#;
    let headers = [JSON, ("idempotency-key", "order-1")];
    let mut ids = std::collections::HashSet::new();
    for _ in 0..5 {
        let answer = request("POST", &url, &headers, body.as_bytes()).await;
        let answer = answer.expect("the request should get a response");
        assert_eq!(answer.status, 202);
        ids.insert(answer.json()["id"].to_string());
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(post(&url, body).await.status, 202);
    sandbox.wait_rows(2, SOON).await;
    assert_eq!(sandbox.number("SELECT count(*) FROM activities").await, 2);
}

#[tokio::test]
async fn an_unreadable_message_becomes_a_dead_letter_with_its_bytes() {
    let sandbox = Sandbox::new().await;
    sandbox.seed().await;
    let _worker = sandbox.worker(&[]).await;
    let rabbitmq = RabbitBackend::new(&sandbox.amqp_url, &sandbox.queue)
        .expect("the AMQP URL should be valid");
    let queue = rabbitmq.queue("test", &[]).expect("creating the queue should succeed");
    let mut publisher = queue.publisher();
    let up = queue.publish_health().wait_for(|health| *health == Health::Up).await.is_ok();
    assert!(up, "the queue should be reachable");
    for kind in [MessageKind::Activities, MessageKind::Unreadable] {
        publisher
            .publish(Destination::Activities, kind, b"\xff{not ours")
            .await
            .expect("the message should be confirmed");
    }
    // Messages with the same bytes are one dead letter.
    sandbox
        .wait_number(
            "SELECT count(*) FROM dead_letters WHERE payload = '\\xff7b6e6f74206f757273'::bytea",
            1,
            SOON,
        )
        .await;
    let dead = sandbox.json(&["dead-letter", "list"]).await;
    assert_eq!(dead[0]["reason"], "unreadable");
}
