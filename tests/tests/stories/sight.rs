//! Sight: what dashboards and alerts ask for is there.

use std::collections::BTreeSet;
use std::path::Path;

use trailpad_tests::Embedded;
use trailpad_tests::http::post;

use super::SOON;

/// The names of this product's metrics that a file of `deploy/` asks for.
fn asked_for(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file);
    let text = std::fs::read_to_string(path).expect("a file");
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
    for file in ["prometheus/alerts.yml", "grafana/dashboards/trailpad.json"] {
        let asked_for = asked_for(file);
        assert!(asked_for.len() > 5, "{file}: {asked_for:?}");
        for name in asked_for {
            assert!(names.contains(name.as_str()), "{file} asks for {name}, which nothing has");
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
    trailpad_tests::wait_until("it is seen", SOON, open, |seen| *seen == 1.0).await;
    assert_eq!(serve.metric("trailpad_ready").await, 1.0);
    assert!(serve.metric("trailpad_sight_timestamp_seconds").await > 1.7e9);
}
