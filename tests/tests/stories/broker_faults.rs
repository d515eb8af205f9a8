//! A broker that works and is unkind. Each test has a private broker.

use trailpad_tests::Sandbox;
use trailpad_tests::http::post;
use trailpad_tests::rabbitmq::RabbitMq;
use trailpad_tests::servers::shared;
use trailpad_tests::wait_until;

use super::{SOON, activity};

async fn sandbox_on(rabbitmq: &RabbitMq) -> Sandbox {
    Sandbox::on(&shared().await.postgres_url, &rabbitmq.url()).await
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
    sandbox.cli(&["dead-letter", "replay", "--reason", "expired-in-queue"]).await;
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
