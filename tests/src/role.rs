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

/// A running `trailpad gateway` or `trailpad worker`; dropping it kills it.
pub struct Role {
    name: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Role {
    /// Runs a program as a role.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the binary is built");
        let log = Arc::new(Mutex::new(Vec::new()));
        follow(child.stdout.take().expect("piped"), log.clone());
        follow(child.stderr.take().expect("piped"), log.clone());
        Self { name: name.to_owned(), child, log }
    }

    /// Its lines so far.
    pub fn log_text(&self) -> String {
        self.log.lock().expect("no panic").join("\n")
    }

    /// How many lines have this text.
    pub fn log_count(&self, text: &str) -> usize {
        self.log.lock().expect("no panic").iter().filter(|line| line.contains(text)).count()
    }

    /// Waits for a line with this text.
    pub async fn wait_log(&self, text: &str) {
        let count = async || self.log_count(text);
        wait_until(&format!("{} logs {text:?}", self.name), DEADLINE, count, |count| *count > 0)
            .await;
    }

    async fn address(&self, listener: &str) -> String {
        let find = async || {
            let log = self.log.lock().expect("no panic");
            log.iter().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let is_it = line["message"] == "listening" && line["listener"] == listener;
                is_it.then(|| line["address"].as_str().unwrap_or_default().to_owned())
            })
        };
        let what = format!("{} listens", self.name);
        wait_until(&what, DEADLINE, find, Option::is_some).await.expect("found")
    }

    /// Where senders post to, without a path.
    pub async fn ingress_url(&self) -> String {
        format!("http://{}", self.address("ingress").await)
    }

    /// Where the dashboard is.
    pub async fn dashboard_url(&self) -> String {
        format!("http://{}", self.address("dashboard").await)
    }

    /// The operators' port.
    pub async fn ops_url(&self) -> String {
        format!("http://{}", self.address("ops").await)
    }

    /// Asks the operators' port.
    pub async fn ops(&self, path: &str) -> std::io::Result<http::Answer> {
        http::request("GET", &format!("{}{path}", self.ops_url().await), &[], b"").await
    }

    /// Waits until it says that it is ready.
    pub async fn wait_ready(&self) {
        let ask =
            async || self.ops("/readyz").await.map(|answer| (answer.status, answer.text())).ok();
        let is_ready =
            |seen: &Option<(u16, String)>| seen.as_ref().is_some_and(|(status, _)| *status == 200);
        wait_until(&format!("{} is ready", self.name), DEADLINE, ask, is_ready).await;
    }

    /// Waits until a `serve` is ready and has made its first webhook, which comes last.
    pub async fn wait_serving(&self) {
        self.wait_log(r#""message":"serving""#).await;
        self.wait_ready().await;
    }

    /// Waits until it says that it is not ready, for a reason with this text.
    pub async fn wait_unready(&self, reason: &str) {
        let ask =
            async || self.ops("/readyz").await.map(|answer| (answer.status, answer.text())).ok();
        let is_unready = |seen: &Option<(u16, String)>| {
            seen.as_ref().is_some_and(|(status, text)| *status == 503 && text.contains(reason))
        };
        wait_until(&format!("{} is not ready: {reason}", self.name), DEADLINE, ask, is_unready)
            .await;
    }

    /// Its metrics: name and labels as they stand, and the value.
    pub async fn metrics(&self) -> HashMap<String, f64> {
        let text = self.ops("/metrics").await.expect("metrics").text();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// One metric, summed over its labels; 0 where there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics().await;
        let is_it = |key: &str| {
            key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
        };
        metrics.iter().filter(|(key, _)| is_it(key)).map(|(_, value)| value).sum()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// SIGTERM, and waits for its end; gives the exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        signal(self.pid(), "-TERM");
        self.wait().await
    }

    /// Sends a signal and goes on.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end; gives the exit code.
    pub async fn wait(&mut self) -> Option<i32> {
        let status = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        status.expect("it ends in time").expect("a status").code()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a status").is_some()
    }

    /// Kills it with -9.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it is ours");
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
            log.lock().expect("no panic").push(line);
        }
    });
}
