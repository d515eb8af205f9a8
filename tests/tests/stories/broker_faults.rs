//! A broker that works and is unkind: it refuses one message, loses one queue, applies a policy,
//! or delivers nothing. Each test has a private broker.

use std::time::Duration;

use trailpad_common::queue::{Destination, MessageKind, PublishError, QueueBackend, Source};
use trailpad_common::runtime::lifecycle::Health;
use trailpad_engines::rabbitmq::RabbitBackend;
use trailpad_tests::http::{Seen, flood, post};
use trailpad_tests::rabbitmq::RabbitMq;
use trailpad_tests::servers::shared;
use trailpad_tests::{Sandbox, wait_until};

use super::{SOON, activity};

const LOST: &str = "no connection to the broker; reconnecting";
/// A worker is not ready after 60 s without progress, and probes every 10 s.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(120);

async fn sandbox_on(rabbitmq: &RabbitMq) -> Sandbox {
    Sandbox::on(&shared().await.postgres_url, &rabbitmq.url()).await
}

#[tokio::test]
async fn a_message_over_the_brokers_limit_fails_only_its_own_publish() {
    let rabbitmq = RabbitMq::start("{max_message_size, 100000}").await;
    let backend = RabbitBackend::new(&rabbitmq.url(), "limited").expect("the URL should be valid");
    let queue = backend.queue("test", &[]).expect("the queue should open");
    let mut health = queue.publish_health();
    health.wait_for(|health| *health == Health::Up).await.expect("the queue should be reachable");
    health.mark_unchanged();
    let mut one = queue.publisher();
    let mut other = queue.publisher();
    let to = Destination::Activities;
    for _ in 0..3 {
        let large = one.publish(to, MessageKind::Activities, &vec![b' '; 150_000]).await;
        assert!(matches!(large, Err(PublishError::Refused(_))), "{large:?}");
        let small = other.publish(to, MessageKind::Activities, b"[]").await;
        assert_eq!(small, Ok(()), "the neighbour keeps its channel");
        let small = one.publish(to, MessageKind::Activities, b"[]").await;
        assert_eq!(small, Ok(()), "the publisher opens another channel");
    }
    let has_changed = health.has_changed().expect("the link should exist");
    assert!(!has_changed, "the connection was never lost: {:?}", *health.borrow());
}

#[tokio::test]
async fn a_large_activity_costs_the_gateway_no_connection() {
    let rabbitmq = RabbitMq::start("{max_message_size, 100000}").await;
    let sandbox = sandbox_on(&rabbitmq).await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let small = {
        let url = url.clone();
        tokio::spawn(flood(move || url.clone(), 4_000, 8, |at| activity(&format!("a-{at}"))))
    };
    let large = format!(
        r#"{{"title":"Large","startTime":"2024-08-03T11:30:00Z","metadata":{{"text":"{}"}}}}"#,
        "x".repeat(150_000)
    );
    for _ in 0..5 {
        assert_eq!(post(&url, &large).await.status, 503);
    }
    let small = small.await.expect("the senders should not panic");
    let failed = small.iter().filter(|(_, seen)| *seen != Seen::Status(202)).count();
    assert!(failed <= 5 * 8, "only activities of a large message fail: {failed}");
    assert_eq!(gateway.log_count(LOST), 0);
}

#[tokio::test]
async fn a_deleted_retry_queue_costs_the_worker_no_connection() {
    let rabbitmq = RabbitMq::start("").await;
    let sandbox = sandbox_on(&rabbitmq).await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let worker = sandbox.worker(&[]).await;
    let retry = format!("{}.retry.10s", sandbox.queue);
    rabbitmq.ctl(&["delete_queue", &retry]).await;
    let names = async || rabbitmq.ctl(&["list_queues", "name"]).await;
    wait_until("the queue is declared again", SOON, names, |names| names.contains(&retry)).await;
    for _ in 0..2 {
        let name = "trailpad_queue_observed_timestamp_seconds";
        let before = worker.metric(name).await;
        let observed = async || worker.metric(name).await;
        wait_until("the depths are read", SOON, observed, |observed| *observed > before).await;
    }
    assert_eq!(worker.log_count(LOST), 0);
    assert_eq!(worker.log_count("subscription lost"), 0);
    assert_eq!(post(&webhook.url(&gateway).await, &activity("after")).await.status, 202);
    sandbox.wait_rows(1, SOON).await;
}

#[tokio::test]
async fn a_deleted_queue_of_activities_is_declared_again_by_its_consumer() {
    let rabbitmq = RabbitMq::start("").await;
    let backend = RabbitBackend::new(&rabbitmq.url(), "deleted").expect("the URL should be valid");
    let queue = backend.queue("test", &[]).expect("the queue should open");
    let mut health = queue.consume_health();
    health.wait_for(|health| *health == Health::Up).await.expect("the queue should be reachable");
    let mut subscription =
        queue.subscribe(Source::Activities, 1).await.expect("subscribing should succeed");
    rabbitmq.ctl(&["delete_queue", "deleted"]).await;
    subscription.next().await.err().expect("the broker should end the subscription");
    let subscribe = async || queue.subscribe(Source::Activities, 1).await.is_ok();
    wait_until("the consumer subscribes again", SOON, subscribe, |subscribed| *subscribed).await;
}

#[tokio::test]
async fn a_message_that_a_policy_expired_is_a_dead_letter_with_that_reason() {
    let rabbitmq = RabbitMq::start("").await;
    let sandbox = sandbox_on(&rabbitmq).await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let pattern = format!("^{}$", sandbox.queue);
    let policy = ["set_policy", "ttl", &pattern, r#"{"message-ttl":500}"#];
    rabbitmq.ctl(&policy).await;
    assert_eq!(post(&webhook.url(&gateway).await, &activity("a")).await.status, 202);
    let dead = format!("{}.dead\t1", sandbox.queue);
    let depths = async || rabbitmq.ctl(&["list_queues", "name", "messages"]).await;
    wait_until("the message expires", SOON, depths, |depths| depths.contains(&dead)).await;
    rabbitmq.ctl(&["clear_policy", "ttl"]).await;
    let _worker = sandbox.worker(&[]).await;
    sandbox.wait_number("SELECT count(*) FROM dead_letters", 1, SOON).await;
    let reasons = sandbox.texts("SELECT reason FROM dead_letters").await;
    let errors = sandbox.texts("SELECT error FROM dead_letters").await;
    assert_eq!(reasons, ["expired-in-queue"], "{errors:?}");
    assert!(errors[0].contains("message-ttl"), "{errors:?}");
    let chosen = ["dead-letter", "replay", "--reason", "expired-in-queue"];
    let queue = ["--amqp-url", &sandbox.amqp_url, "--queue", &sandbox.queue];
    sandbox.cli(&[chosen, queue].concat()).await;
    sandbox.wait_rows(1, SOON).await;
}

#[tokio::test]
async fn a_message_that_a_policy_dropped_is_a_dead_letter_with_that_reason() {
    let rabbitmq = RabbitMq::start("").await;
    let sandbox = sandbox_on(&rabbitmq).await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let pattern = format!("^{}$", sandbox.queue);
    let definition = r#"{"max-length":1,"overflow":"drop-head"}"#;
    rabbitmq.ctl(&["set_policy", "length", &pattern, definition]).await;
    for external_id in ["a", "b", "c"] {
        assert_eq!(post(&url, &activity(external_id)).await.status, 202);
    }
    let _worker = sandbox.worker(&[]).await;
    sandbox.wait_number("SELECT count(*) FROM dead_letters", 2, SOON).await;
    sandbox.wait_rows(1, SOON).await;
    let reasons = sandbox.texts("SELECT DISTINCT reason FROM dead_letters").await;
    assert_eq!(reasons, ["queue-overflow"]);
}

#[tokio::test]
async fn a_broker_without_the_feature_flag_stream_queue_is_refused_with_the_command_that_helps() {
    let flags = "implicit_default_bindings,maintenance_mode_status,quorum_queue,user_limits,virtual_host_metadata";
    let rabbitmq = RabbitMq::start_with_feature_flags(flags).await;
    let sandbox = sandbox_on(&rabbitmq).await;
    let gateway = sandbox.spawn_gateway(&[]);
    gateway.wait_unready("rabbitmqctl enable_feature_flag stream_queue").await;
    rabbitmq.ctl(&["enable_feature_flag", "stream_queue"]).await;
    gateway.wait_ready().await;
}

/// Erlang code that runs with the queue of activities as `Q` and its name as `N`.
async fn eval(rabbitmq: &RabbitMq, queue: &str, code: &str) {
    let code = format!(
        r#"N = rabbit_misc:r(<<"/">>, queue, <<"{queue}">>), {{ok, Q}} = rabbit_amqqueue:lookup(N), {code}."#
    );
    rabbitmq.ctl(&["eval", &code]).await;
}

#[tokio::test]
async fn a_worker_whose_consumer_the_broker_forgot_subscribes_again() {
    let rabbitmq = RabbitMq::start("").await;
    let sandbox = sandbox_on(&rabbitmq).await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let url = webhook.url(&gateway).await;
    let _worker = sandbox.worker(&[]).await;
    assert_eq!(post(&url, &activity("before")).await.status, 202);
    sandbox.wait_rows(1, SOON).await;
    // The consumer's channel does not notice that another queue has the name now.
    let recreate = "A = amqqueue:get_arguments(Q), \
        rabbit_amqqueue:delete(Q, false, false, <<\"test\">>), \
        rabbit_amqqueue:declare(N, true, false, A, none, <<\"test\">>)";
    eval(&rabbitmq, &sandbox.queue, recreate).await;
    let accept = async || post(&url, &activity("after")).await.status;
    wait_until("the activity is accepted", SOON, accept, |status| *status == 202).await;
    sandbox.wait_rows(2, PROGRESS_DEADLINE).await;
}

#[tokio::test]
async fn a_worker_is_not_ready_while_the_broker_confirms_nothing() {
    let rabbitmq = RabbitMq::start("").await;
    let sandbox = sandbox_on(&rabbitmq).await;
    let worker = sandbox.worker(&[]).await;
    // As on the minority side of a partition: the connections stay open.
    let pid = "{S, _} = amqqueue:get_pid(Q)";
    eval(&rabbitmq, &sandbox.queue, &format!("{pid}, sys:suspend(whereis(S))")).await;
    let ready = async || worker.ops("/readyz").await.expect("the role should answer").text();
    let is_unready = |text: &String| text.contains("confirmed no message");
    wait_until("the worker is not ready", PROGRESS_DEADLINE, ready, is_unready).await;
    assert!(worker.metric("trailpad_queue_probe_seconds").await > 0.0);
    eval(&rabbitmq, &sandbox.queue, &format!("{pid}, sys:resume(whereis(S))")).await;
    worker.wait_ready().await;
}
