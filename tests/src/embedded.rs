//! The product without servers: `trailpad serve` on a data directory of a test's own.

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
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("data");
        Self { _directory: directory, path }
    }
}

impl Embedded {
    /// The data directory; the first start makes it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A command on the directory.
    pub fn command(&self, words: &[&str]) -> Command {
        self.with(Command::new(binary("trailpad")), words)
    }

    /// A program that runs the rest of its arguments as a command on a small file system of its
    /// own, mounted at the directory with these options, and gone with the process.
    pub fn command_on_tmpfs(&self, options: &str, words: &[&str]) -> Command {
        std::fs::create_dir_all(&self.path).expect("a directory");
        let mut command = Command::new("unshare");
        let mount = r#"mount -t tmpfs -o "$0" tmpfs "$TRAILPAD_DATA_DIR" && exec "$@""#;
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount, options]);
        command.arg(binary("trailpad"));
        self.with(command, words)
    }

    /// A command beside a process that serves on a file system of its own.
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

    /// Runs a command to its end.
    pub async fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().await.expect("the binary is built")
    }

    /// Runs a command with `--json`. Panics if it fails.
    pub async fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat()).await;
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "trailpad {words:?}: {error}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Serves, and waits until it is ready and its first webhook is made (which comes last).
    pub async fn serve(&self, words: &[&str]) -> Role {
        let serve = Role::spawn("serve", self.command(&[&["serve"], words].concat()));
        serve.wait_serving().await;
        serve
    }

    /// The first webhook's URL on a process that serves, whatever its port is now.
    pub async fn url(&self, serve: &Role) -> String {
        let first = std::fs::read_to_string(self.url_file(serve)).expect("a first webhook");
        format!("{}{}", serve.ingress_url().await, crate::http::split(first.trim()).1)
    }

    /// Where the first webhook's URL is, as seen by the process that serves.
    pub fn url_file(&self, serve: &Role) -> PathBuf {
        self.seen_by(serve).join("first-webhook-url")
    }

    /// The directory as the process that serves sees it.
    pub fn seen_by(&self, serve: &Role) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", serve.pid()));
        root.join(self.path.strip_prefix("/").expect("an absolute path"))
    }

    /// Runs SQL that gives rows of one number on the store.
    pub fn number(&self, sql: &str) -> i64 {
        number(&self.path.join("store.db"), sql)
    }

    /// Runs SQL on the store.
    pub fn execute(&self, sql: &str) {
        let connection = Connection::open(self.path.join("store.db")).expect("a database");
        connection.busy_timeout(Duration::from_secs(5)).expect("set");
        connection.execute_batch(sql).expect("SQL");
    }

    /// Runs SQL that gives rows of one text on the store.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let connection = Connection::open(self.path.join("store.db")).expect("a database");
        let mut statement = connection.prepare(sql).expect("SQL");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("texts")
    }

    /// Waits until SQL on the store gives this number.
    pub async fn wait_number(&self, sql: &str, wanted: i64, deadline: Duration) {
        wait_until(sql, deadline, async || self.number(sql), |seen| *seen == wanted).await;
    }

    /// Waits until nothing is in the queue.
    pub async fn wait_empty(&self, deadline: Duration) {
        let file = self.path.join("queue.db");
        let count = async || number(&file, "SELECT count(*) FROM messages");
        wait_until("the queue is empty", deadline, count, |seen| *seen == 0).await;
    }
}

/// Runs SQL that gives rows of one number on a database file.
pub fn number(file: &Path, sql: &str) -> i64 {
    let connection = Connection::open(file).expect("a database");
    connection.busy_timeout(Duration::from_secs(5)).expect("set");
    connection.query_row(sql, [], |row| row.get(0)).expect("a row")
}
