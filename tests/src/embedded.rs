//! The product without servers: `trailpad serve` on a private data directory.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::role::Role;
use crate::sandbox::{binary, clean};
use crate::wait::wait_until;

/// A data directory and the commands on it.
pub struct Embedded {
    _directory: TempDir,
    path: PathBuf,
}

impl Default for Embedded {
    fn default() -> Self {
        let directory = tempfile::tempdir().expect("creating a directory should succeed");
        let path = directory.path().join("data");
        Self { _directory: directory, path }
    }
}

impl Embedded {
    /// The data directory; the first start creates it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn command(&self, words: &[&str]) -> Command {
        self.with(Command::new(binary("trailpad")), words)
    }

    /// A command whose data directory is a separate tmpfs, mounted with these options. The file
    /// system ends with the process.
    pub fn command_on_tmpfs(&self, options: &str, words: &[&str]) -> Command {
        std::fs::create_dir_all(&self.path).expect("creating a directory should succeed");
        let mut command = Command::new("unshare");
        let mount = r#"mount -t tmpfs -o "$0" tmpfs "$TRAILPAD_DATA_DIR" && exec "$@""#;
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount, options]);
        command.arg(binary("trailpad"));
        self.with(command, words)
    }

    /// A command in the mount namespace of a `serve` from [`Self::command_on_tmpfs`].
    pub fn command_beside(&self, serve: &Role, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &serve.pid().to_string()]);
        command.args(["--user", "--preserve-credentials", "--mount", "--"]);
        command.arg(binary("trailpad"));
        self.with(command, words)
    }

    fn with(&self, command: Command, words: &[&str]) -> Command {
        let mut command = clean(command);
        command.args(words).env("TRAILPAD_DATA_DIR", &self.path);
        if words.first() == Some(&"serve") {
            for name in ["TRAILPAD_LISTEN", "TRAILPAD_OPS_LISTEN", "TRAILPAD_DASHBOARD_LISTEN"] {
                command.env(name, "127.0.0.1:0");
            }
        }
        command
    }

    pub async fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().await.expect("the binary should be built")
    }

    /// Runs a command with `--json`. Panics if it fails.
    pub async fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat()).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "trailpad {words:?}: {error}");
        serde_json::from_slice(&output.stdout).expect("the output should be JSON")
    }

    /// Starts `serve` and waits until it is ready and has created its first webhook, its last step.
    pub async fn serve(&self, words: &[&str]) -> Role {
        let serve = Role::spawn("serve", self.command(&[&["serve"], words].concat()));
        serve.wait_serving().await;
        serve
    }

    /// The first webhook's URL, on the current port of `serve`.
    pub async fn url(&self, serve: &Role) -> String {
        let first = std::fs::read_to_string(self.url_file(serve))
            .expect("the file of the first webhook should exist");
        format!("{}{}", serve.ingress_url().await, crate::http::split(first.trim()).1)
    }

    /// The file of the first webhook's URL, as `serve` sees it.
    pub fn url_file(&self, serve: &Role) -> PathBuf {
        self.seen_by(serve).join("first-webhook-url")
    }

    /// The data directory as `serve` sees it.
    pub fn seen_by(&self, serve: &Role) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", serve.pid()));
        root.join(self.path.strip_prefix("/").expect("the path should be absolute"))
    }

    /// Runs SQL on the store that returns one number.
    pub fn number(&self, sql: &str) -> i64 {
        number(&self.path.join("store.db"), sql)
    }

    /// Runs SQL on the store.
    pub fn execute(&self, sql: &str) {
        let connection =
            Connection::open(self.path.join("store.db")).expect("the database should open");
        connection
            .busy_timeout(Duration::from_secs(5))
            .expect("setting the busy timeout should succeed");
        connection.execute_batch(sql).expect("the SQL should run");
    }

    /// Runs SQL on the store that returns rows of one text.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let connection =
            Connection::open(self.path.join("store.db")).expect("the database should open");
        let mut statement = connection.prepare(sql).expect("the SQL should run");
        let rows = statement.query_map([], |row| row.get(0)).expect("the query should return rows");
        rows.collect::<rusqlite::Result<_>>().expect("every row should be a text")
    }

    /// Waits until the SQL on the store returns this number.
    pub async fn wait_number(&self, sql: &str, wanted: i64, deadline: Duration) {
        wait_until(sql, deadline, async || self.number(sql), |seen| *seen == wanted).await;
    }

    /// Waits until the queue is empty.
    pub async fn wait_empty(&self, deadline: Duration) {
        let file = self.path.join("queue.db");
        let count = async || number(&file, "SELECT count(*) FROM messages");
        wait_until("the queue is empty", deadline, count, |seen| *seen == 0).await;
    }
}

/// Runs SQL on a database file that returns one number.
pub fn number(file: &Path, sql: &str) -> i64 {
    let connection = Connection::open(file).expect("the database should open");
    connection
        .busy_timeout(Duration::from_secs(5))
        .expect("setting the busy timeout should succeed");
    connection.query_row(sql, [], |row| row.get(0)).expect("the query should return a row")
}
