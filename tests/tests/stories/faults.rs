//! Cut connections, several workers, concurrent migrations and an unresponsive store.

use std::time::Duration;

use trailpad_tests::http::{Seen, deliver, flood};
use trailpad_tests::proxy::Proxy;
use trailpad_tests::{Sandbox, wait_until};

use super::{SOON, activity};

const COUNT: usize = 20_000;

#[tokio::test]
async fn repeatedly_cut_connections_lose_nothing_and_store_nothing_twice() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let (gateway_link, gateway_amqp) = Proxy::of_url(&sandbox.amqp_url).await;
    let (worker_link, worker_amqp) = Proxy::of_url(&sandbox.amqp_url).await;
    let (store_link, worker_database) = Proxy::of_url(&sandbox.database_url).await;
    let gateway = Sandbox { amqp_url: gateway_amqp, ..sandbox.clone() }.gateway(&[]).await;
    let of_worker =
        Sandbox { amqp_url: worker_amqp, database_url: worker_database, ..sandbox.clone() };
    let worker = of_worker.worker(&["--store-backoff-max", "500ms"]).await;
    let url = webhook.url(&gateway).await;
    let sender =
        tokio::spawn(deliver(move || url.clone(), COUNT, 32, |at| activity(&format!("a-{at}"))));
    for (round, link) in
        [&gateway_link, &worker_link, &store_link, &worker_link, &gateway_link].iter().enumerate()
    {
        let stored = sandbox.number("SELECT count(*) FROM activities").await;
        sandbox.wait_rows(stored + 200, SOON).await;
        link.cut();
        match round {
            0 | 4 => gateway.wait_unready("queue").await,
            2 => worker.wait_unready("store").await,
            _ => worker.wait_unready("queue").await,
        }
        link.heal();
    }
    let seen = sender.await.expect("the sender should not panic");
    assert!(
        seen.keys().all(|seen| matches!(seen.as_str(), "Status(202)" | "Status(503)")),
        "{seen:?}"
    );
    let rows = i64::try_from(COUNT).expect("the count should fit");
    sandbox.wait_rows(rows, Duration::from_secs(60)).await;
    let keys = "SELECT count(DISTINCT external_id) FROM activities";
    assert_eq!(sandbox.number(keys).await, rows, "each 202 has its row");
    assert_eq!(sandbox.number("SELECT count(*) FROM activities").await, rows, "and only one");
    assert_eq!(sandbox.number("SELECT count(*) FROM dead_letters").await, 0);
}

#[tokio::test]
async fn workers_on_one_queue_share_the_load() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let one = sandbox.worker(&[]).await;
    let two = sandbox.worker(&[]).await;
    for worker in [&one, &two] {
        worker.wait_log("session started").await;
    }
    let url = webhook.url(&gateway).await;
    let seen = flood(move || url.clone(), 5_000, 20, |at| activity(&format!("a-{at}"))).await;
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    sandbox.wait_rows(5_000, SOON).await;
    for worker in [&one, &two] {
        let stored = async || worker.metric("trailpad_worker_stored_total").await;
        wait_until("each worker stored its share", SOON, stored, |stored| *stored > 100.0).await;
    }
}

#[tokio::test]
async fn concurrent_migrations_apply_each_step_once() {
    let sandbox = Sandbox::new().await;
    sandbox.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await;
    let migrate = || sandbox.cli(&["migrate"]);
    let (a, b, c, d) = tokio::join!(migrate(), migrate(), migrate(), migrate());
    let applied = [a, b, c, d].iter().filter(|text| text.contains("Applied")).count();
    assert_eq!(applied, 1);
}

#[tokio::test]
async fn an_invalid_configuration_is_rejected_with_every_error_at_once() {
    let sandbox = Sandbox::new().await;
    let words =
        ["worker", "--concurrency", "none", "--hold-max", "2h", "--amqp-url", "http://u:SECRET@h"];
    let output = sandbox.command(&words).output().await.expect("the command should start");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    for flag in ["--concurrency (or TRAILPAD_CONCURRENCY)", "--hold-max", "--amqp-url"] {
        assert!(error.contains(flag), "{flag}: {error}");
    }
    assert!(!error.contains("SECRET"));
}

#[tokio::test]
async fn a_worker_with_an_unresponsive_store_exits_by_its_deadline_and_loses_nothing() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let (proxy, through_proxy) = Proxy::of_url(&sandbox.database_url).await;
    let behind = Sandbox { database_url: through_proxy, ..sandbox.clone() };
    let worker = behind.worker(&["--drain-timeout", "1s"]).await;
    proxy.freeze();
    let url = webhook.url(&gateway).await;
    let seen = flood(move || url.clone(), 100, 10, |at| activity(&format!("a-{at}"))).await;
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    let in_hand = async || worker.metric("trailpad_worker_in_hand_activities").await;
    wait_until("the worker waits for its store", SOON, in_hand, |count| *count > 0.0).await;
    let began = std::time::Instant::now();
    assert_eq!(worker.terminate().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let _worker = sandbox.worker(&[]).await;
    sandbox.wait_rows(100, SOON).await;
    assert_eq!(sandbox.number("SELECT count(*) FROM activities").await, 100);
}
