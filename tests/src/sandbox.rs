//! A sandbox: a database and queues of a test's own, and the product's processes on them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

use crate::postgres::connect;
use crate::role::Role;
use crate::servers::shared;
use crate::wait::wait_until;

/// Where a test's engines are; roles may be given others, such as one behind a proxy.
#[derive(Clone)]
pub struct Sandbox {
    /// The test's own database.
    pub database_url: String,
    /// The broker.
    pub amqp_url: String,
    /// The name of the test's own queue.
    pub queue: String,
}

/// A webhook made for a test.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its id.
    pub id: String,
    /// The path of its URL, with the token.
    pub path: String,
    /// Its token.
    pub token: String,
}

impl Sandbox {
    /// A sandbox on the servers that all tests share.
    pub async fn new() -> Self {
        let servers = shared().await;
        Self::on(&servers.postgres_url, &servers.amqp_url).await
    }

    /// A sandbox on servers of a test's own.
    pub async fn on(postgres_url: &str, amqp_url: &str) -> Self {
        let name = format!("trailpad_test_{}", Uuid::now_v7().simple());
        let client = connect(postgres_url).await.expect("PostgreSQL");
        client.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
        let mut url = url::Url::parse(postgres_url).expect("a URL");
        url.set_path(&name);
        let sandbox = Self { database_url: url.into(), amqp_url: amqp_url.to_owned(), queue: name };
        sandbox.cli(&["migrate"]).await;
        sandbox
    }

    /// A command of the binary with this sandbox's engines, and no variable from outside.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = clean(Command::new(binary("trailpad")));
        command.args(words);
        command.env("TRAILPAD_DATABASE_URL", &self.database_url);
        if matches!(words.first(), Some(&("gateway" | "worker" | "dashboard"))) {
            command.env("TRAILPAD_AMQP_URL", &self.amqp_url).env("TRAILPAD_QUEUE", &self.queue);
            command.env("TRAILPAD_OPS_LISTEN", "127.0.0.1:0");
        }
        command
    }

    /// Runs a command of the binary; gives what it printed. Panics if it fails.
    pub async fn cli(&self, words: &[&str]) -> String {
        let output = self.command(words).output().await.expect("the binary is built");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "trailpad {words:?}: {error}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Runs a command with `--json`.
    pub async fn json(&self, words: &[&str]) -> Value {
        let text = self.cli(&[words, &["--json"]].concat()).await;
        serde_json::from_str(&text).expect("JSON")
    }

    /// Makes workspace Acme with its owner, project Support and a webhook.
    pub async fn seed(&self) -> Webhook {
        self.cli(&["workspace", "create", "--name", "Acme", "--owner", "owner@example.com"]).await;
        self.cli(&["project", "create", "--workspace", "Acme", "--name", "Support"]).await;
        self.webhook("My Custom CRM").await
    }

    /// Makes one more webhook.
    pub async fn webhook(&self, name: &str) -> Webhook {
        let made = self
            .json(&[
                "webhook",
                "create",
                "--workspace",
                "Acme",
                "--project",
                "Support",
                "--name",
                name,
                "--creator",
                "owner@example.com",
            ])
            .await;
        Webhook::of(&made)
    }

    /// Starts a gateway and waits until it is ready.
    pub async fn gateway(&self, words: &[&str]) -> Role {
        let gateway = self.spawn_gateway(words);
        gateway.wait_ready().await;
        gateway
    }

    /// Starts a gateway.
    pub fn spawn_gateway(&self, words: &[&str]) -> Role {
        let mut command = self.command(&[&["gateway"], words].concat());
        command.env("TRAILPAD_LISTEN", "127.0.0.1:0");
        Role::spawn("gateway", command)
    }

    /// Starts a worker and waits until it is ready.
    pub async fn worker(&self, words: &[&str]) -> Role {
        let worker = Role::spawn("worker", self.command(&[&["worker"], words].concat()));
        worker.wait_ready().await;
        worker
    }

    /// Runs SQL that gives rows of one number.
    pub async fn number(&self, sql: &str) -> i64 {
        let client = connect(&self.database_url).await.expect("PostgreSQL");
        client.query_one(sql, &[]).await.expect("a row").get(0)
    }

    /// Runs SQL that gives rows of one text.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let client = connect(&self.database_url).await.expect("PostgreSQL");
        client.query(sql, &[]).await.expect("rows").iter().map(|row| row.get(0)).collect()
    }

    /// Runs SQL.
    pub async fn execute(&self, sql: &str) {
        let client = connect(&self.database_url).await.expect("PostgreSQL");
        client.batch_execute(sql).await.expect("SQL");
    }

    /// Waits until so many activities are stored.
    pub async fn wait_rows(&self, rows: i64, deadline: Duration) {
        let count = async || self.number("SELECT count(*) FROM activities").await;
        wait_until("rows are stored", deadline, count, |seen| *seen >= rows).await;
    }

    /// Waits until SQL gives this number.
    pub async fn wait_number(&self, sql: &str, wanted: i64, deadline: Duration) {
        let count = async || self.number(sql).await;
        wait_until(sql, deadline, count, |seen| *seen == wanted).await;
    }
}

impl Webhook {
    /// The webhook that `webhook create|rotate --json` printed.
    pub fn of(made: &Value) -> Self {
        let url = made["url"].as_str().expect("a URL");
        let path = crate::http::split(url).1.to_owned();
        let token = path.rsplit('/').next().expect("a token").to_owned();
        Self { id: made["id"].as_str().expect("an id").to_owned(), path, token }
    }

    /// Its URL on a gateway.
    pub async fn url(&self, gateway: &Role) -> String {
        format!("{}{}", gateway.ingress_url().await, self.path)
    }
}

/// A command without this project's variables from outside.
pub fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRAILPAD_")) {
        command.env_remove(name);
    }
    command
}

/// A binary of this workspace, beside the one that runs.
pub fn binary(name: &str) -> PathBuf {
    let mut dir = std::env::current_exe().expect("a path");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir.join(name)
}
