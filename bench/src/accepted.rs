//! Activities accepted over HTTP, compared with the broker only.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::process::Command;
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::queue::envelope::{Envelope, single};
use trailpad_common::timestamp::Timestamp;
use trailpad_tests::Sandbox;

const SECONDS: u64 = 5;
const CONNECTIONS: usize = 256;
const IN_FLIGHT: usize = 512;

/// The documented example.
const BODY: &str = r#"{"title":"Customer Inquiry Handled","description":"Handled customer inquiry from Jane Doe regarding billing.","startTime":"2024-08-03T11:30:00Z","trigger":"Manual Log","event":"Call Center Log","externalId":"call-log-9876"}"#;

/// Activities accepted per second by a gateway. Leaves its queue empty.
pub async fn over_http(sandbox: &Sandbox, url: &str) -> f64 {
    let rate = wrk(url).await;
    purge(sandbox, &sandbox.queue).await;
    rate
}

/// Runs `wrk` with keep-alive connections and returns its requests per second. Every response must
/// be a 202.
pub async fn wrk(url: &str) -> f64 {
    let script = std::env::temp_dir().join(format!("trailpad-bench-{}.lua", std::process::id()));
    let lua = format!(
        "wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\nwrk.body = [[{BODY}]]\n"
    );
    tokio::fs::write(&script, lua).await.expect("writing the wrk script should succeed");
    let output = Command::new("wrk")
        .args(["-t2", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s"), "--latency", "-s"])
        .arg(&script)
        .arg(url)
        .output()
        .await
        .expect("wrk should start: run scripts/install-test-deps bench to install it");
    let _ = tokio::fs::remove_file(&script).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx"), "wrk received a response other than 2xx:\n{text}");
    let p99 = text.lines().find(|line| line.trim().starts_with("99%")).unwrap_or_default();
    eprintln!("  accepted: p99{}", p99.trim().trim_start_matches("99%"));
    let rate = text.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok())
        .expect("the output of wrk should contain Requests/sec")
}

/// Messages confirmed per second by the same kind of queue, with one activity per message and
/// without HTTP.
pub async fn broker_only(sandbox: &Sandbox) -> f64 {
    let queue = format!("{}.broker-only", sandbox.queue);
    let (_connection, channel) = open(sandbox).await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel
        .queue_declare(queue.as_str().into(), durable, arguments)
        .await
        .expect("declaring the queue should succeed");
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("enabling publisher confirms should succeed");
    let webhook_id = WebhookId::generate();
    let publish = async || {
        let received_at = Timestamp::now();
        let id = ActivityId::received_at(received_at);
        let envelope =
            Envelope { id, webhook_id, received_at, attempt: 1, traceparent: None, activity: BODY };
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let properties = BasicProperties::default().with_delivery_mode(2);
        let message = single(&envelope);
        let sent = channel
            .basic_publish("".into(), queue.as_str().into(), options, &message, properties)
            .await;
        let confirm = sent.expect("publishing should succeed").await;
        assert!(confirm.expect("the confirm should arrive").is_ack());
    };
    let began = Instant::now();
    let mut confirmed = 0_u64;
    let mut in_flight: FuturesUnordered<_> = (0..IN_FLIGHT).map(|_| publish()).collect();
    while began.elapsed() < Duration::from_secs(SECONDS) {
        in_flight.next().await;
        confirmed += 1;
        in_flight.push(publish());
    }
    let rate = confirmed as f64 / began.elapsed().as_secs_f64();
    while in_flight.next().await.is_some() {}
    purge(sandbox, &queue).await;
    rate
}

async fn open(sandbox: &Sandbox) -> (Connection, Channel) {
    let connection = Connection::connect(&sandbox.amqp_url, ConnectionProperties::default())
        .await
        .expect("connecting to RabbitMQ should succeed");
    let channel = connection.create_channel().await.expect("opening a channel should succeed");
    (connection, channel)
}

async fn purge(sandbox: &Sandbox, queue: &str) {
    let (_connection, channel) = open(sandbox).await;
    channel
        .queue_purge(queue.into(), QueuePurgeOptions::default())
        .await
        .expect("purging the queue should succeed");
}
