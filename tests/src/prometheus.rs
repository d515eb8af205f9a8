//! A private Prometheus from the system's package, with the alert rules of `deploy/`.

use std::time::Duration;

use crate::process_guard::{ProcessGuard, free_port, temp_dir};
use crate::{http, repository, wait_until};

const DEADLINE: Duration = Duration::from_secs(60);

/// A running Prometheus; dropping it ends it and removes its data.
pub struct Prometheus {
    _guard: ProcessGuard,
    url: String,
}

impl Prometheus {
    /// Scrapes the address of each job, and itself as job `prometheus`, every second.
    pub async fn start(jobs: &[(&str, &str)]) -> Self {
        let dir = temp_dir("prometheus");
        let port = free_port();
        let rules = repository::path("deploy/prometheus/alerts.yml");
        let mut config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\nscrape_configs:\n",
            rules.canonicalize().expect("the alert rules should exist")
        );
        let itself = format!("127.0.0.1:{port}");
        for (job, address) in jobs.iter().chain(&[("prometheus", itself.as_str())]) {
            config +=
                &format!("  - job_name: {job}\n    static_configs: [{{targets: [{address:?}]}}]\n");
        }
        std::fs::write(dir.join("prometheus.yml"), config)
            .expect("writing the file should succeed");
        let at = dir.display();
        let script = format!(
            "exec prometheus --config.file={at}/prometheus.yml --storage.tsdb.path={at}/data --web.listen-address=127.0.0.1:{port}"
        );
        let _guard = ProcessGuard::start(&script, &[], &dir, "TERM");
        let prometheus = Self { _guard, url: format!("http://127.0.0.1:{port}") };
        let ready = async || prometheus.get("/-/ready").await.is_some();
        wait_until("Prometheus is ready", DEADLINE, ready, |ready| *ready).await;
        prometheus
    }

    async fn get(&self, path: &str) -> Option<http::Answer> {
        let answer = http::request("GET", &format!("{}{path}", self.url), &[], b"").await.ok()?;
        (answer.status == 200).then_some(answer)
    }

    /// The values of a query, one for each series.
    pub async fn query(&self, query: &str) -> Vec<String> {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let answer = self
            .get(&format!("/api/v1/query?query={query}"))
            .await
            .expect("Prometheus should answer the query");
        let series = answer.json()["data"]["result"].as_array().cloned().unwrap_or_default();
        series.iter().map(|one| one["value"][1].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until a query returns these values.
    pub async fn wait_query(&self, query: &str, wanted: &[&str]) {
        let values = async || self.query(query).await;
        wait_until(query, DEADLINE, values, |seen| seen == wanted).await;
    }
}
