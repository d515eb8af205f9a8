//! Tokens and payloads are in no log line, metric or error.

use trailpad_tests::Sandbox;
use trailpad_tests::http::{JSON, post, request};

use super::SOON;

const SECRET: &str = "PAYLOAD-SECRET-4711";

#[tokio::test]
async fn no_token_and_no_payload_is_in_any_log_at_trace_level_metric_or_error() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    sandbox
        .execute("ALTER TABLE activities ADD CONSTRAINT no_poison CHECK (title NOT LIKE 'poison%')")
        .await;
    let gateway = sandbox.gateway(&["--log", "trace"]).await;
    let worker = sandbox.worker(&["--log", "trace", "--retry-schedule", "100ms"]).await;
    let url = webhook.url(&gateway).await;
    let mut told = String::new();
    let body = |extra: &str| {
        format!(r#"{{"title":"{SECRET}","startTime":"2024-08-03T11:30:00Z"{extra}}}"#)
    };
    for body in [
        body(""),
        body(&format!(r#","memberEmail":"{SECRET}@example.com""#)),
        body("").replace("title\":\"", "title\":\"poison "),
        body(&format!(r#","externalId":7,"x":"{SECRET}""#)),
        format!(r#"{{"title":"{SECRET}","startTime":"{SECRET}"}}"#),
        format!("{{\"{SECRET}"),
        format!("{SECRET}\u{0}"),
    ] {
        told += &post(&url, &body).await.text();
    }
    // Tokens that are wrong in every way, and requests that fail before their handler.
    for path in [
        webhook.path.clone() + "x",
        webhook.path.clone() + "/more",
        webhook.path.replace("tpw_", "xyz_"),
        format!("{}?token={SECRET}", webhook.path),
    ] {
        let url = format!("{}{path}", gateway.ingress_url().await);
        told += &request("POST", &url, &[JSON], b"{").await.expect("an answer").text();
        told += &request("GET", &url, &[], b"").await.expect("an answer").text();
    }
    sandbox.cli(&["webhook", "revoke", &webhook.id]).await;
    sandbox.wait_number("SELECT count(*) FROM dead_letters", 2, SOON).await;
    sandbox.wait_rows(1, SOON).await;
    told += &sandbox.cli(&["webhook", "list"]).await;
    told += &sandbox.cli(&["dead-letter", "list", "--json"]).await;
    for role in [&gateway, &worker] {
        told += &role.ops("/metrics").await.expect("metrics").text();
        told += &role.ops("/readyz").await.expect("an answer").text();
    }
    gateway.signal("-TERM");
    gateway.wait_log("the gateway has ended").await;
    told += &gateway.log_text();
    told += &worker.log_text();
    let secret_part = webhook.token.rsplit('_').next().expect("a secret");
    for secret in [webhook.token.as_str(), secret_part, SECRET] {
        assert!(!told.contains(secret), "{}", around(&told, secret));
    }
    let public_id = webhook.token.split('_').nth(1).expect("a public id");
    assert!(told.contains(public_id), "the search looks where it should");
}

/// The lines that tell it.
fn around(told: &str, secret: &str) -> String {
    told.lines().filter(|line| line.contains(secret)).take(3).collect::<Vec<_>>().join("\n")
}
