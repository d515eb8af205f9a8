//! Webhooks are created, rotated and revoked while gateways run.

use std::time::{Duration, Instant};

use trailpad_tests::http::post;
use trailpad_tests::proxy::Proxy;
use trailpad_tests::sandbox::Webhook;
use trailpad_tests::{Sandbox, wait_until};

use super::{SOON, activity};

#[tokio::test]
async fn a_new_webhook_works_at_once_and_a_revoked_one_is_rejected_within_a_second() {
    let sandbox = Sandbox::new().await;
    let known = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let (proxy, through_proxy) = Proxy::of_url(&sandbox.database_url).await;
    let cut_off = Sandbox { database_url: through_proxy, ..sandbox.clone() }.gateway(&[]).await;
    proxy.cut();

    let new = sandbox.webhook("New").await;
    assert_eq!(post(&new.url(&gateway).await, &activity("first")).await.status, 202);
    assert_eq!(
        post(&known.url(&cut_off).await, &activity("known")).await.status,
        202,
        "it serves the webhooks it knows"
    );
    let answer = post(&new.url(&cut_off).await, &activity("new")).await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (503, "not-accepted"),
        "{}",
        answer.text()
    );
    assert!(answer.headers.contains_key("retry-after"));

    sandbox.cli(&["webhook", "revoke", &known.id]).await;
    let revoked = Instant::now();
    let url = known.url(&gateway).await;
    let ask = async || post(&url, &activity("late")).await.status;
    wait_until("the webhook is rejected", SOON, ask, |status| *status == 410).await;
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    assert_eq!(post(&known.url(&cut_off).await, &activity("x")).await.status, 202);
    proxy.heal();
    let url = known.url(&cut_off).await;
    let ask = async || post(&url, &activity("late")).await.status;
    wait_until("the other gateway rejects it, too", SOON, ask, |status| *status == 410).await;
    assert_eq!(post(&new.url(&cut_off).await, &activity("new")).await.status, 202);
}

#[tokio::test]
async fn a_rotated_token_stops_at_once_or_after_its_grace_period() {
    let sandbox = Sandbox::new().await;
    let old = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let rotate = async |grace: &str| {
        Webhook::of(&sandbox.json(&["webhook", "rotate", &old.id, "--grace", grace]).await)
    };
    let with_grace = rotate("1h").await;
    assert_eq!(post(&with_grace.url(&gateway).await, &activity("new")).await.status, 202);
    assert_eq!(post(&old.url(&gateway).await, &activity("old")).await.status, 202);
    let without_grace = rotate("0s").await;
    assert_eq!(post(&without_grace.url(&gateway).await, &activity("newest")).await.status, 202);
    for ended in [&old, &with_grace] {
        assert_eq!(post(&ended.url(&gateway).await, &activity("ended")).await.status, 401);
    }
}

#[tokio::test]
async fn known_tokens_are_served_until_the_staleness_limit() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let (proxy, through_proxy) = Proxy::of_url(&sandbox.database_url).await;
    let behind = Sandbox { database_url: through_proxy, ..sandbox.clone() };
    let gateway = behind.gateway(&["--registry-staleness-max", "2s"]).await;
    let url = webhook.url(&gateway).await;
    proxy.freeze();
    assert_eq!(post(&url, &activity("a")).await.status, 202);
    let ask = async || post(&url, &activity("b")).await.status;
    wait_until("it rejects known tokens", SOON, ask, |status| *status == 503).await;
    gateway.wait_unready("registry").await;
    proxy.heal();
    gateway.wait_ready().await;
    assert_eq!(post(&url, &activity("c")).await.status, 202);
}

#[tokio::test]
async fn a_gateway_started_without_the_database_is_not_ready_until_its_registry_is_loaded() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let (proxy, through_proxy) = Proxy::of_url(&sandbox.database_url).await;
    proxy.cut();
    let gateway = Sandbox { database_url: through_proxy, ..sandbox.clone() }.spawn_gateway(&[]);
    gateway.wait_unready("registry").await;
    assert_eq!(post(&webhook.url(&gateway).await, &activity("a")).await.status, 503);
    proxy.heal();
    gateway.wait_ready().await;
    assert_eq!(post(&webhook.url(&gateway).await, &activity("a")).await.status, 202);
}
