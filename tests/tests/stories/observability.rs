//! Sight: what dashboards and alerts ask for is there.

use std::collections::BTreeSet;
use std::path::Path;

use trailpad_tests::http::post;
use trailpad_tests::prometheus::Prometheus;
use trailpad_tests::{Embedded, Sandbox, wait_until};

use super::{SOON, activity};

/// A file of this repository.
fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(path).expect("a file")
}

/// The names of this product's metrics that a file asks for.
fn asked_for(path: &str) -> BTreeSet<String> {
    let text = file(path);
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| word.starts_with("trailpad_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_that_alerts_and_dashboard_ask_for_exists() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&["--retry-schedule", "100ms"]).await;
    let url = embedded.url(&serve).await;
    // One of each fate, because a metric with labels is there once it has been counted.
    let unknown =
        r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"x@example.com"}"#;
    assert_eq!(post(&url, unknown).await.status, 202);
    assert_eq!(post(&url, "{}").await.status, 422);
    embedded.wait_number("SELECT count(*) FROM dead_letters", 1, SOON).await;
    let metrics = serve.metrics().await;
    let names: BTreeSet<&str> =
        metrics.keys().map(|name| name.split('{').next().expect("a name")).collect();
    for path in ["deploy/prometheus/alerts.yml", "deploy/grafana/dashboards/trailpad.json"] {
        let asked_for = asked_for(path);
        assert!(asked_for.len() > 5, "{path}: {asked_for:?}");
        for name in asked_for {
            assert!(names.contains(name.as_str()), "{path} asks for {name}, which nothing has");
        }
    }
}

#[tokio::test]
async fn open_dead_letters_and_what_waits_are_seen() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&["--retry-schedule", "100ms"]).await;
    let unknown =
        r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"x@example.com"}"#;
    assert_eq!(post(&embedded.url(&serve).await, unknown).await.status, 202);
    embedded.wait_number("SELECT count(*) FROM dead_letters", 1, SOON).await;
    assert_eq!(serve.terminate().await, Some(0));
    // A start looks at once.
    let serve = embedded.serve(&[]).await;
    let open = async || serve.metric("trailpad_dead_letters_open").await;
    wait_until("it is seen", SOON, open, |seen| *seen == 1.0).await;
    assert_eq!(serve.metric("trailpad_ready").await, 1.0);
    assert!(serve.metric("trailpad_queue_observed_timestamp_seconds").await > 1.7e9);
}

#[tokio::test]
async fn prometheus_scrapes_every_role_and_evaluates_every_rule() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let (gateway, worker) = (sandbox.gateway(&[]).await, sandbox.worker(&[]).await);
    let (gateway_ops, worker_ops) = (gateway.ops_url().await, worker.ops_url().await);
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    let (at_gateway, at_worker) = (address(&gateway_ops), address(&worker_ops));
    let prometheus = Prometheus::start(&[("gateway", &at_gateway), ("worker", &at_worker)]).await;
    prometheus.wait_query("trailpad_ready", &["1", "1"]).await;
    assert_eq!(post(&webhook.url(&gateway).await, &activity("a")).await.status, 202);
    prometheus.wait_query("trailpad_gateway_accepted_total", &["1"]).await;
    prometheus.wait_query("trailpad_worker_stored_total", &["1"]).await;
    let rules = alerts().len().to_string();
    prometheus.wait_query("prometheus_rule_group_rules", &[&rules]).await;
    prometheus.wait_query("sum(prometheus_rule_evaluations_total) > bool 20", &["1"]).await;
    prometheus.wait_query("sum(prometheus_rule_evaluation_failures_total)", &["0"]).await;
    assert_eq!(worker.terminate().await, Some(0));
    prometheus.wait_query(r#"up{job="worker"}"#, &["0"]).await;
    let absent = r#"ALERTS{alertname="TrailpadNoWorker"}"#;
    prometheus.wait_query(absent, &["1"]).await;
}

/// What is told of an alert, and its name before it.
fn alerts() -> Vec<String> {
    let alerts = file("deploy/prometheus/alerts.yml");
    alerts.split("- alert: ").skip(1).map(str::to_owned).collect()
}

#[test]
fn every_alert_has_its_place_in_the_runbook() {
    let runbook = file("docs/operations.md");
    assert!(alerts().len() > 5);
    for alert in alerts() {
        let name = alert.lines().next().expect("a name");
        assert!(runbook.contains(&format!("### {name}\n")), "{name} has no entry");
        let link = format!("runbook: docs/operations.md#{}\n", name.to_lowercase());
        assert!(alert.contains(&link), "{name} does not say where its entry is");
    }
}
