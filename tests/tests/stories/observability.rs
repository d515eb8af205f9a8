//! Metrics, alerts and the monitoring of queues.

use std::collections::BTreeSet;

use trailpad_tests::http::post;
use trailpad_tests::prometheus::Prometheus;
use trailpad_tests::{Embedded, Sandbox, repository, wait_until};

use super::{SOON, activity};

/// The names of this product's metrics in a file.
fn metrics_in(path: &str) -> BTreeSet<String> {
    let text = repository::read(path);
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    words.filter(|word| word.starts_with("trailpad_")).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_used_by_alerts_and_dashboards_exists() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&["--retry-schedule", "100ms"]).await;
    let url = embedded.url(&serve).await;
    // One activity for each outcome, because a metric with labels appears with its first value.
    let unknown =
        r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"x@example.com"}"#;
    assert_eq!(post(&url, unknown).await.status, 202);
    assert_eq!(post(&url, "{}").await.status, 422);
    embedded.wait_number("SELECT count(*) FROM dead_letters", 1, SOON).await;
    let metrics = serve.metrics().await;
    let names: BTreeSet<&str> = metrics
        .keys()
        .map(|name| name.split('{').next().expect("the metric should have a name"))
        .collect();
    for path in ["deploy/prometheus/alerts.yml", "deploy/grafana/dashboards/trailpad.json"] {
        let used = metrics_in(path);
        assert!(used.len() > 5, "{path}: {used:?}");
        for name in used {
            assert!(names.contains(name.as_str()), "{path} uses {name}, which does not exist");
        }
    }
}

#[tokio::test]
async fn open_dead_letters_and_the_time_of_observation_are_reported() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&["--retry-schedule", "100ms"]).await;
    let unknown =
        r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"x@example.com"}"#;
    assert_eq!(post(&embedded.url(&serve).await, unknown).await.status, 202);
    embedded.wait_number("SELECT count(*) FROM dead_letters", 1, SOON).await;
    assert_eq!(serve.terminate().await, Some(0));
    // A worker observes at its start.
    let serve = embedded.serve(&[]).await;
    let open = async || serve.metric("trailpad_dead_letters_open").await;
    wait_until("the dead letter is counted", SOON, open, |seen| *seen == 1.0).await;
    assert_eq!(serve.metric("trailpad_ready").await, 1.0);
    assert!(serve.metric("trailpad_queue_observed_timestamp_seconds").await > 1.7e9);
}

#[tokio::test]
async fn prometheus_scrapes_every_role_and_evaluates_every_rule() {
    let sandbox = Sandbox::new().await;
    let webhook = sandbox.seed().await;
    let gateway = sandbox.gateway(&[]).await;
    let worker = sandbox.worker(&[]).await;
    let gateway_ops = gateway.ops_url().await;
    let worker_ops = worker.ops_url().await;
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    let at_gateway = address(&gateway_ops);
    let at_worker = address(&worker_ops);
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

/// The text of each alert; it begins with the name.
fn alerts() -> Vec<String> {
    let alerts = repository::read("deploy/prometheus/alerts.yml");
    alerts.split("- alert: ").skip(1).map(str::to_owned).collect()
}

#[test]
fn every_alert_has_a_section_in_the_runbook() {
    let runbook = repository::read("docs/operations.md");
    assert!(alerts().len() > 5);
    for alert in alerts() {
        let name = alert.lines().next().expect("the alert should have a name");
        assert!(runbook.contains(&format!("### {name}\n")), "{name} has no section in the runbook");
        let link = format!("runbook: docs/operations.md#{}\n", name.to_lowercase());
        assert!(alert.contains(&link), "{name} does not link its section in the runbook");
    }
}
