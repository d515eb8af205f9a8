//! A role of the product as a real process.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use crate::http;
use crate::process_guard::signal;
use crate::wait::wait_until;

const DEADLINE: Duration = Duration::from_secs(60);

/// A running role, such as `trailpad gateway`; dropping it kills the process.
pub struct Role {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Role {
    pub fn spawn(name: &str, mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the binary should be built");
        let log = Arc::new(Mutex::new(Vec::new()));
        follow(child.stdout.take().expect("the output should be piped"), log.clone());
        follow(child.stderr.take().expect("the output should be piped"), log.clone());
        Self { name: name.to_owned(), child, log }
    }

    /// The log so far.
    pub fn log_text(&self) -> String {
        self.log.lock().expect("the lock should not be poisoned").join("\n")
    }

    /// Number of log lines that contain the text.
    pub fn log_count(&self, text: &str) -> usize {
        self.log
            .lock()
            .expect("the lock should not be poisoned")
            .iter()
            .filter(|line| line.contains(text))
            .count()
    }

    /// Waits for a log line that contains the text.
    pub async fn wait_log(&self, text: &str) {
        let count = async || self.log_count(text);
        wait_until(&format!("{} logs {text:?}", self.name), DEADLINE, count, |count| *count > 0)
            .await;
    }

    async fn address(&self, listener: &str) -> String {
        let find = async || {
            let log = self.log.lock().expect("the lock should not be poisoned");
            log.iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let is_it = line["message"] == "listening" && line["listener"] == listener;
                is_it.then(|| line["address"].as_str().unwrap_or_default().to_owned())
            })
        };
        let event = format!("{} listens", self.name);
        wait_until(&event, DEADLINE, find, Option::is_some)
            .await
            .expect("the log should contain an address")
    }

    /// Without a path.
    pub async fn ingress_url(&self) -> String {
        format!("http://{}", self.address("ingress").await)
    }

    pub async fn dashboard_url(&self) -> String {
        format!("http://{}", self.address("dashboard").await)
    }

    pub async fn ops_url(&self) -> String {
        format!("http://{}", self.address("ops").await)
    }

    /// Requests a path of the operators' port.
    pub async fn ops(&self, path: &str) -> std::io::Result<http::Answer> {
        http::request("GET", &format!("{}{path}", self.ops_url().await), &[], b"").await
    }

    /// Waits until `/readyz` reports ready.
    pub async fn wait_ready(&self) {
        let ask =
            async || self.ops("/readyz").await.map(|answer| (answer.status, answer.text())).ok();
        let is_ready =
            |seen: &Option<(u16, String)>| seen.as_ref().is_some_and(|(status, _)| *status == 200);
        wait_until(&format!("{} is ready", self.name), DEADLINE, ask, is_ready).await;
    }

    /// Waits until a `serve` is ready and has created its first webhook, its last step.
    pub async fn wait_serving(&self) {
        self.wait_log(r#""message":"serving""#).await;
        self.wait_ready().await;
    }

    /// Waits until `/readyz` reports not ready, for a reason that contains the text.
    pub async fn wait_unready(&self, reason: &str) {
        let ask =
            async || self.ops("/readyz").await.map(|answer| (answer.status, answer.text())).ok();
        let is_unready = |seen: &Option<(u16, String)>| {
            seen.as_ref().is_some_and(|(status, text)| *status == 503 && text.contains(reason))
        };
        wait_until(&format!("{} is not ready: {reason}", self.name), DEADLINE, ask, is_unready)
            .await;
    }

    /// The metrics: name and labels as written, and the value.
    pub async fn metrics(&self) -> HashMap<String, f64> {
        let text = self.ops("/metrics").await.expect("the metrics should be served").text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// One metric, summed over its labels; 0 if it does not exist.
    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics().await;
        let is_it = |key: &str| {
            key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
        };
        metrics.iter().filter(|(key, _)| is_it(key)).map(|(_, value)| value).sum()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("the process should be running")
    }

    /// Sends SIGTERM, waits for the process to end and returns its exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        signal(self.pid(), "-TERM");
        self.wait().await
    }

    /// Sends a signal without waiting.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for the process to end and returns its exit code.
    pub async fn wait(&mut self) -> Option<i32> {
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        status
            .expect("the process should end in time")
            .expect("reading the exit status should succeed")
            .code()
    }

    /// `true` if the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("reading the exit status should succeed").is_some()
    }

    /// Kills the process with -9.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killing the process should succeed");
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log.lock().map(|log| log.clone()).unwrap_or_default();
            let tail = log.len().saturating_sub(40);
            eprintln!("--- the last lines of {}:\n{}", self.name, log[tail..].join("\n"));
        }
    }
}

fn follow(output: impl AsyncRead + Unpin + Send + 'static, log: Arc<Mutex<Vec<String>>>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            log.lock().expect("the lock should not be poisoned").push(line);
        }
    });
}
