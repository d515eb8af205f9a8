//! Outages of engines and roles, and recovery. Each test has private servers.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use trailpad_tests::http::{Seen, deliver, flood, post};
use trailpad_tests::postgres::Postgres;
use trailpad_tests::rabbitmq::RabbitMq;
use trailpad_tests::{Sandbox, wait_until};

use super::{SOON, activity};

const COUNT: usize = 100_000;
const LONG: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn every_202_has_its_row_after_each_process_is_killed_once() {
    let (mut postgres, mut rabbitmq) = tokio::join!(Postgres::start(), RabbitMq::start(""));
    let sandbox = Sandbox::on(&postgres.url(), &rabbitmq.url()).await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let worker = sandbox.worker(&[]).await;
    let url = Arc::new(Mutex::new(webhook.url(&gateway).await));
    let current = url.clone();
    let sender = tokio::spawn(deliver(
        move || current.lock().expect("the lock should not be poisoned").clone(),
        COUNT,
        128,
        |at| activity(&format!("a-{at}")),
    ));
    let rows = async |rows| sandbox.wait_rows(rows, LONG).await;

    rows(5_000).await;
    worker.kill().await;
    let worker = sandbox.worker(&[]).await;
    rows(15_000).await;
    gateway.kill().await;
    let gateway = sandbox.gateway(&[]).await;
    *url.lock().expect("the lock should not be poisoned") = webhook.url(&gateway).await;
    rows(25_000).await;
    rabbitmq.kill();
    rabbitmq.restart().await;
    rows(35_000).await;
    postgres.kill();
    postgres.restart().await;

    let seen = sender.await.expect("the sender should not panic");
    let expected = ["Status(202)", "Status(503)", "Broken"];
    assert!(seen.keys().all(|seen| expected.contains(&seen.as_str())), "{seen:?}");
    assert_eq!(seen["Status(202)"], COUNT);
    let rows = i64::try_from(COUNT).expect("the count should fit");
    sandbox.wait_rows(rows, LONG).await;
    let keys = "SELECT count(DISTINCT external_id) FROM activities";
    assert_eq!(sandbox.number(keys).await, rows, "each 202 has its row");
    let twice = "SELECT count(*) - count(DISTINCT external_id) FROM activities";
    assert_eq!(sandbox.number(twice).await, 0);
    assert_eq!(sandbox.number("SELECT count(*) FROM dead_letters").await, 0);
    assert_eq!(worker.metric("trailpad_worker_retried_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_store_dead_letters_nothing_and_spends_no_attempt() {
    // The consumer timeout is one second, so in an outage of half a minute it passes more often
    // than the delivery limit of 20.
    let config = "{consumer_timeout, 1000}, {channel_tick_interval, 300}";
    let (mut postgres, rabbitmq) = tokio::join!(Postgres::start(), RabbitMq::start(config));
    let sandbox = Sandbox::on(&postgres.url(), &rabbitmq.url()).await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let worker = sandbox.worker(&["--hold-max", "500ms", "--store-backoff-max", "100ms"]).await;
    let url = webhook.url(&gateway).await;
    let accept = async |name: &'static str| {
        let url = url.clone();
        let seen =
            flood(move || url.clone(), 300, 10, move |at| activity(&format!("{name}-{at}"))).await;
        assert!(
            seen.iter().all(|(_, seen)| *seen == Seen::Status(202)),
            "known tokens get 202: {name}"
        );
    };
    accept("before").await;
    sandbox.wait_rows(300, SOON).await;

    postgres.kill();
    accept("down").await;
    worker.wait_unready("store").await;
    let outage = Instant::now();
    await_time(outage, Duration::from_secs(13)).await;
    postgres.restart().await;
    postgres.set_read_only(true).await;
    accept("read-only").await;
    await_time(outage, Duration::from_secs(26)).await;
    postgres.set_read_only(false).await;

    sandbox.wait_rows(900, SOON).await;
    worker.wait_ready().await;
    assert_eq!(sandbox.number("SELECT count(*) FROM activities").await, 900);
    assert_eq!(sandbox.number("SELECT count(*) FROM dead_letters").await, 0);
    let metrics = worker.metrics().await;
    let spent = |name: &str| metrics.keys().any(|key| key.starts_with(name));
    assert!(
        !spent("trailpad_worker_retried_total{") && !spent("trailpad_worker_dead_lettered_total{")
    );
}

/// Waits until the outage has lasted this long.
async fn await_time(since: Instant, length: Duration) {
    wait_until(
        "the outage lasts",
        length * 2,
        async || since.elapsed(),
        |elapsed| *elapsed >= length,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_broker_senders_get_503_at_once_and_everything_recovers() {
    let (postgres, mut rabbitmq) = tokio::join!(Postgres::start(), RabbitMq::start(""));
    let sandbox = Sandbox::on(&postgres.url(), &rabbitmq.url()).await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&["--publish-timeout", "2s"]).await;
    let worker = sandbox.worker(&[]).await;
    let url = webhook.url(&gateway).await;
    assert_eq!(post(&url, &activity("before")).await.status, 202);

    rabbitmq.kill();
    gateway.wait_unready("queue").await;
    let began = Instant::now();
    let answer = post(&url, &activity("down")).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "not-accepted"),
        "{}",
        answer.text()
    );
    assert!(answer.headers.contains_key("retry-after"));
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(
        gateway.ops("/livez").await.expect("the request should get a response").status,
        200,
        "liveness does not depend on the broker"
    );
    rabbitmq.restart().await;
    gateway.wait_ready().await;
    worker.wait_ready().await;
    assert_eq!(post(&url, &activity("between")).await.status, 202);
    sandbox.wait_rows(2, SOON).await;

    rabbitmq.set_alarm(true).await;
    // The broker blocks a publisher at its first message after the alarm.
    let answer = post(&url, &activity("alarm")).await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    gateway.wait_unready("blocks publishers").await;
    let began = Instant::now();
    let answer = post(&url, &activity("alarm")).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "not-accepted"),
        "{}",
        answer.text()
    );
    assert!(answer.headers.contains_key("retry-after"));
    assert!(began.elapsed() < Duration::from_secs(2));
    rabbitmq.set_alarm(false).await;
    gateway.wait_ready().await;
    assert_eq!(post(&url, &activity("after")).await.status, 202);
    let after = "SELECT count(*) FROM activities WHERE external_id = 'after'";
    sandbox.wait_number(after, 1, SOON).await;
}
