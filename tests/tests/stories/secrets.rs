//! No log line, metric or error contains a token or a payload.

use trailpad_tests::Sandbox;
use trailpad_tests::http::{JSON, post, request};

use super::SOON;

const SECRET: &str = "PAYLOAD-SECRET-4711";

#[tokio::test]
async fn no_log_at_trace_level_metric_or_error_contains_a_token_or_payload() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    sandbox
        .execute("ALTER TABLE activities ADD CONSTRAINT no_poison CHECK (title NOT LIKE 'poison%')")
        .await;
    let gateway = sandbox.gateway(&["--log", "trace"]).await;
    let worker = sandbox.worker(&["--log", "trace", "--retry-schedule", "100ms"]).await;
    let url = webhook.url(&gateway).await;
    let mut output = String::new();
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
        output += &post(&url, &body).await.text();
    }
    // Invalid tokens of every kind, and requests that fail before their handler.
    for path in [
        webhook.path.clone() + "x",
        webhook.path.clone() + "/more",
        webhook.path.replace("tpw_", "xyz_"),
        format!("{}?token={SECRET}", webhook.path),
    ] {
        let url = format!("{}{path}", gateway.ingress_url().await);
        output += &request("POST", &url, &[JSON], b"{")
            .await
            .expect("the request should get a response")
            .text();
        output += &request("GET", &url, &[], b"")
            .await
            .expect("the request should get a response")
            .text();
    }
    sandbox.cli(&["webhook", "revoke", &webhook.id]).await;
    sandbox.wait_number("SELECT count(*) FROM dead_letters", 2, SOON).await;
    sandbox.wait_rows(1, SOON).await;
    output += &sandbox.cli(&["webhook", "list"]).await;
    output += &sandbox.cli(&["dead-letter", "list", "--json"]).await;
    for role in [&gateway, &worker] {
        output += &role.ops("/metrics").await.expect("the metrics should be served").text();
        output += &role.ops("/readyz").await.expect("the request should get a response").text();
    }
    gateway.signal("-TERM");
    gateway.wait_log("the gateway has ended").await;
    output += &gateway.log_text();
    output += &worker.log_text();
    let secret_part = webhook.token.rsplit('_').next().expect("the token should contain a secret");
    for secret in [webhook.token.as_str(), secret_part, SECRET] {
        assert!(!output.contains(secret), "{}", around(&output, secret));
    }
    let public_id = webhook.token.split('_').nth(1).expect("the token should contain a public id");
    assert!(output.contains(public_id), "the output contains the public id, so the search works");
}

/// The first lines that contain the secret.
fn around(output: &str, secret: &str) -> String {
    output.lines().filter(|line| line.contains(secret)).take(3).collect::<Vec<_>>().join("\n")
}
