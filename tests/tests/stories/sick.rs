//! Servers that are up and sick: alarms, refused rows, a standby that is away, restarts in an
//! outage. What can be stored is stored, and nothing becomes a dead letter without a fault of its
//! own.

use std::time::{Duration, Instant};

use trailpad_tests::http::{Seen, flood, post};
use trailpad_tests::postgres::Postgres;
use trailpad_tests::rabbitmq::RabbitMq;
use trailpad_tests::{Sandbox, Webhook, wait_until};

use super::{SOON, activity};

const ACTIVITIES: &str = "SELECT count(*) FROM activities";
const RETRIES: &str = "SELECT count(*) FROM retries";
const DEAD: &str = "SELECT count(*) FROM dead_letters";

fn of_unknown_member(external_id: &str) -> String {
    format!(
        r#"{{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"nobody@example.com","externalId":"{external_id}"}}"#
    )
}

/// Posts activities to a gateway that ends afterwards, so that its connection is not part of the
/// story.
async fn backlog(
    sandbox: &Sandbox,
    webhook: &Webhook,
    count: usize,
    body: impl Fn(usize) -> String + Send + Sync + Clone + 'static,
) {
    let gateway = sandbox.gateway(&[]).await;
    accept(&webhook.url(&gateway).await, count, body).await;
    gateway.terminate().await;
}

async fn accept(
    url: &str,
    count: usize,
    body: impl Fn(usize) -> String + Send + Sync + Clone + 'static,
) {
    let url = url.to_owned();
    let seen = flood(move || url.clone(), count, 32, body).await;
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)), "{seen:?}");
}

/// Changes a setting of the database server.
async fn set(sandbox: &Sandbox, name: &str, value: &str) {
    // Two statements: ALTER SYSTEM runs outside of a transaction.
    sandbox.execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).await;
    sandbox.execute("SELECT pg_reload_conf()").await;
}

/// The messages in all queues, also unacknowledged ones, as of a few seconds ago.
async fn messages(rabbitmq: &RabbitMq) -> u64 {
    let queues = rabbitmq.ctl(&["list_queues", "messages", "--silent"]).await;
    queues.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_blocks_publishers_a_backlog_with_failures_is_stored() {
    let (postgres, rabbitmq) = tokio::join!(Postgres::start(), RabbitMq::start(""));
    let sandbox = Sandbox::on(&postgres.url(), &rabbitmq.url()).await;
    let webhook = sandbox.seed().await;
    let one_of_a_hundred = |at: usize| match at % 100 {
        0 => of_unknown_member(&format!("unknown-{at}")),
        _ => activity(&format!("a-{at}")),
    };
    backlog(&sandbox, &webhook, 2_000, one_of_a_hundred).await;
    rabbitmq.set_alarm(true).await;
    let worker = sandbox.worker(&[]).await;
    sandbox.wait_number(ACTIVITIES, 1_980, SOON).await;
    sandbox.wait_number(RETRIES, 20, SOON).await;
    worker.terminate().await;
    // Everything was acknowledged: nothing is delivered again.
    let left = async || messages(&rabbitmq).await;
    wait_until("the queues are empty", SOON, left, |left| *left == 0).await;
    rabbitmq.set_alarm(false).await;
    assert_eq!(sandbox.number(DEAD).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_after_a_long_outage_of_the_store_stops_no_storing() {
    let (postgres, rabbitmq) = tokio::join!(Postgres::start(), RabbitMq::start(""));
    let sandbox = Sandbox::on(&postgres.url(), &rabbitmq.url()).await;
    let webhook = sandbox.seed().await;
    let worker = sandbox.worker(&["--hold-max", "3s", "--store-backoff-max", "200ms"]).await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    assert_eq!(post(&url, &activity("before")).await.status, 202);
    sandbox.wait_rows(1, SOON).await;
    postgres.set_read_only(true).await;
    for at in 0..50 {
        assert_eq!(post(&url, &activity(&format!("a-{at}"))).await.status, 202);
    }
    worker.wait_unready("store").await;
    rabbitmq.set_alarm(true).await;
    worker.wait_log("publishing the held messages again").await;
    postgres.set_read_only(false).await;
    sandbox.wait_number(ACTIVITIES, 51, SOON).await;
    rabbitmq.set_alarm(false).await;
    worker.terminate().await;
    postgres.ready().await;
    assert_eq!(sandbox.number(DEAD).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_a_worker_during_an_outage_of_the_store_dead_letter_nothing() {
    let (postgres, rabbitmq) = tokio::join!(Postgres::start(), RabbitMq::start(""));
    let sandbox = Sandbox::on(&postgres.url(), &rabbitmq.url()).await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let mut worker = sandbox.worker(&["--store-backoff-max", "200ms"]).await;
    postgres.set_read_only(true).await;
    assert_eq!(post(&url, &activity("first")).await.status, 202);
    for at in 0..20 {
        assert_eq!(post(&url, &activity(&format!("a-{at}"))).await.status, 202);
    }
    for _ in 0..8 {
        worker.wait_unready("store").await;
        worker.terminate().await;
        let command = sandbox.command(&["worker", "--store-backoff-max", "200ms"]);
        worker = trailpad_tests::Role::spawn("worker", command);
    }
    postgres.set_read_only(false).await;
    sandbox.wait_number(ACTIVITIES, 21, SOON).await;
    assert_eq!(sandbox.number(DEAD).await, 0);
    assert_eq!(sandbox.number(RETRIES).await, 0);
}

/// SQLSTATE, and whether no attempt can succeed.
const REFUSALS: [(&str, bool); 8] = [
    ("42501", false),
    ("XX000", false),
    ("0A000", false),
    ("ZX001", false),
    ("P0001", false),
    ("23514", false),
    ("22012", true),
    ("22P02", true),
];

#[tokio::test]
async fn a_row_that_is_refused_with_any_code_costs_its_neighbours_nothing() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    sandbox
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.title LIKE 'refused %' THEN
                     RAISE EXCEPTION 'no' USING ERRCODE = substr(NEW.title, 9);
                 END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON activities
             FOR EACH ROW EXECUTE FUNCTION refuse();",
        )
        .await;
    let worker = sandbox.worker(&[]).await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let mut stored = 0;
    for (code, is_permanent) in REFUSALS {
        let one_is_refused = move |at: usize| match at {
            500 => format!(r#"{{"title":"refused {code}","startTime":"2024-08-03T11:30:00Z"}}"#),
            _ => activity(&format!("{code}-{at}")),
        };
        accept(&url, 1_000, one_is_refused).await;
        let began = Instant::now();
        stored += 999;
        sandbox.wait_number(ACTIVITIES, stored, SOON).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{code}: {:?}", began.elapsed());
        let table = if is_permanent { "dead_letters" } else { "retries" };
        let found = format!(
            "SELECT count(*) FROM {table}
             WHERE reason = 'refused-by-store' AND error LIKE '%SQLSTATE {code}%'"
        );
        sandbox.wait_number(&found, 1, SOON).await;
    }
    worker.wait_ready().await;
}

#[tokio::test]
async fn a_store_that_refuses_every_row_is_unavailable_and_costs_no_attempt() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let worker = sandbox.worker(&["--store-backoff-max", "200ms"]).await;
    sandbox
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'no' USING ERRCODE = '42501';
             END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON activities
             FOR EACH ROW EXECUTE FUNCTION refuse();",
        )
        .await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    for at in 0..10 {
        assert_eq!(post(&url, &activity(&format!("a-{at}"))).await.status, 202);
    }
    worker.wait_unready("store").await;
    sandbox.execute("DROP TRIGGER refuse ON activities").await;
    sandbox.wait_number(ACTIVITIES, 10, SOON).await;
    assert_eq!(sandbox.number(RETRIES).await, 0);
    assert_eq!(sandbox.number(DEAD).await, 0);
}

#[tokio::test]
async fn a_unique_index_of_the_operator_refuses_a_row_and_hides_no_duplicate() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    sandbox.execute("CREATE UNIQUE INDEX one_title ON activities (title)").await;
    let _worker = sandbox.worker(&[]).await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    accept(&url, 2, |at| activity(&format!("a-{at}"))).await;
    sandbox.wait_number(ACTIVITIES, 1, SOON).await;
    let refused = "SELECT count(*) FROM retries WHERE error LIKE '%23505%one_title%'";
    sandbox.wait_number(refused, 1, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_row_is_found_and_its_neighbours_are_stored() {
    let (postgres, rabbitmq) = tokio::join!(Postgres::start(), RabbitMq::start(""));
    let sandbox = Sandbox::on(&postgres.url(), &rabbitmq.url()).await;
    let webhook = sandbox.seed().await;
    sandbox
        .execute(
            "CREATE FUNCTION delay() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.title = 'slow' THEN PERFORM pg_sleep(5); END IF;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER delay BEFORE INSERT ON activities
             FOR EACH ROW EXECUTE FUNCTION delay()",
        )
        .await;
    set(&sandbox, "statement_timeout", "500ms").await;
    let _worker = sandbox.worker(&[]).await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let one_is_slow = |at: usize| match at {
        50 => r#"{"title":"slow","startTime":"2024-08-03T11:30:00Z"}"#.to_owned(),
        _ => activity(&format!("a-{at}")),
    };
    accept(&url, 100, one_is_slow).await;
    sandbox.wait_number(ACTIVITIES, 99, SOON).await;
    let slow = "SELECT count(*) FROM retries WHERE reason = 'refused-by-store'";
    sandbox.wait_number(slow, 1, SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_a_synchronous_standby_is_away() {
    let (postgres, rabbitmq) = tokio::join!(Postgres::start(), RabbitMq::start(""));
    let sandbox = Sandbox::on(&postgres.url(), &rabbitmq.url()).await;
    let webhook = sandbox.seed().await;
    let spawn = || {
        let command = sandbox.command(&["worker", "--store-backoff-max", "200ms"]);
        trailpad_tests::Role::spawn("worker", command)
    };
    let worker = spawn();
    worker.wait_ready().await;
    set(&sandbox, "synchronous_standby_names", "away").await;
    backlog(&sandbox, &webhook, 20, |at| activity(&format!("a-{at}"))).await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    wait_until("a commit waits", SOON, async || sandbox.number(waits).await, |count| *count > 0)
        .await;
    worker.kill().await;
    // The rows are committed on the primary only, and a repeat conflicts with them.
    sandbox
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
        )
        .await;
    let left = async || messages(&rabbitmq).await;
    let worker = spawn();
    worker.wait_unready("store").await;
    wait_until("the queue has its messages", SOON, left, |left| *left > 0).await;
    set(&sandbox, "synchronous_standby_names", "").await;
    sandbox.wait_number(ACTIVITIES, 20, SOON).await;
    wait_until("the queue is empty", SOON, left, |left| *left == 0).await;
    worker.wait_ready().await;
    assert_eq!(sandbox.number(DEAD).await, 0);
}

#[tokio::test]
async fn what_waits_for_a_retry_is_listed_hurried_and_due_once_its_member_is_added() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let _worker = sandbox.worker(&["--retry-schedule", "1h,1h"]).await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    assert_eq!(post(&url, &of_unknown_member("later")).await.status, 202);
    sandbox.wait_number(RETRIES, 1, SOON).await;
    let listed = sandbox.json(&["retry", "list"]).await;
    assert_eq!(listed[0]["reason"], "unknown-member", "{listed}");
    assert_eq!(listed[0]["attempt"], 2);
    assert_eq!(listed[0]["memberEmail"], "nobody@example.com");

    let due = sandbox.json(&["retry", "now", "--reason", "unknown-member"]).await;
    assert_eq!(due["due"], 1);
    let third = "SELECT count(*) FROM retries WHERE attempt = 3";
    sandbox.wait_number(third, 1, SOON).await;

    sandbox.cli(&["member", "add", "--workspace", "Acme", "--email", "nobody@example.com"]).await;
    sandbox.wait_number(ACTIVITIES, 1, SOON).await;
    sandbox.wait_number(RETRIES, 0, SOON).await;
    let theirs = "SELECT count(*) FROM activities a JOIN members m ON m.id = a.member_id
                  WHERE m.email = 'nobody@example.com'";
    assert_eq!(sandbox.number(theirs).await, 1);
}

#[tokio::test]
async fn a_webhook_fills_its_quarter_of_the_room_for_retries_and_no_more() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let other = sandbox.webhook("Other").await;
    let _worker = sandbox.worker(&["--retries-bytes-max", "4000"]).await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    accept(&url, 40, |at| of_unknown_member(&format!("u-{at}"))).await;
    sandbox.wait_number(&format!("SELECT ({DEAD}) + ({RETRIES})"), 40, SOON).await;
    let waiting = sandbox.number(RETRIES).await;
    assert!((1..=10).contains(&waiting), "{waiting}");
    let full = "SELECT count(*) FROM dead_letters WHERE reason = 'retries-full'";
    assert_eq!(sandbox.number(full).await, 40 - waiting);
    let url = other.url(&gateway).await;
    assert_eq!(post(&url, &of_unknown_member("other")).await.status, 202);
    sandbox.wait_number(RETRIES, waiting + 1, SOON).await;
}
