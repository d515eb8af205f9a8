//! A sandbox: a private database and private queues of one test, and the processes on them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

use crate::postgres::connect;
use crate::role::Role;
use crate::servers::shared;
use crate::wait::wait_until;

/// The engines of one test. Roles may get other URLs, such as those of a proxy.
#[derive(Clone)]
pub struct Sandbox {
    pub database_url: String,
    pub amqp_url: String,
    pub queue: String,
}

#[derive(Clone, Debug)]
pub struct Webhook {
    pub id: String,
    /// The path of its URL, which contains the token.
    pub path: String,
    pub token: String,
}

impl Sandbox {
    /// A sandbox on the servers that all tests share.
    pub async fn new() -> Self {
        let servers = shared().await;
        Self::on(&servers.postgres_url, &servers.amqp_url).await
    }

    /// A sandbox on private servers of one test.
    pub async fn on(postgres_url: &str, amqp_url: &str) -> Self {
        let name = format!("trailpad_test_{}", Uuid::now_v7().simple());
        let client = connect(postgres_url).await.expect("PostgreSQL should accept a connection");
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("creating the database should succeed");
        let mut url = url::Url::parse(postgres_url).expect("the URL should be valid");
        url.set_path(&name);
        let sandbox = Self { database_url: url.into(), amqp_url: amqp_url.to_owned(), queue: name };
        sandbox.cli(&["migrate"]).await;
        sandbox
    }

    /// A command of the binary on this sandbox, without `TRAILPAD_*` variables from outside.
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

    /// Runs a command of the binary and returns its output; panics if it fails.
    pub async fn cli(&self, words: &[&str]) -> String {
        let output = self.command(words).output().await.expect("the binary should be built");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "trailpad {words:?}: {error}");
        String::from_utf8(output.stdout).expect("the output should be UTF-8")
    }

    /// Runs a command with `--json`.
    pub async fn json(&self, words: &[&str]) -> Value {
        let text = self.cli(&[words, &["--json"]].concat()).await;
        serde_json::from_str(&text).expect("the output should be JSON")
    }

    /// Creates workspace Acme with its owner, project Support and a webhook.
    pub async fn seed(&self) -> Webhook {
        self.cli(&["workspace", "create", "--name", "Acme", "--owner", "owner@example.com"]).await;
        self.cli(&["project", "create", "--workspace", "Acme", "--name", "Support"]).await;
        self.webhook("My Custom CRM").await
    }

    pub async fn webhook(&self, name: &str) -> Webhook {
        let created = self
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
        Webhook::of(&created)
    }

    /// Starts a gateway and waits until it is ready.
    pub async fn gateway(&self, words: &[&str]) -> Role {
        let gateway = self.spawn_gateway(words);
        gateway.wait_ready().await;
        gateway
    }

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

    /// Runs SQL that returns one number.
    pub async fn number(&self, sql: &str) -> i64 {
        let client =
            connect(&self.database_url).await.expect("PostgreSQL should accept a connection");
        client.query_one(sql, &[]).await.expect("the query should return a row").get(0)
    }

    /// Runs SQL that returns rows of one text.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let client =
            connect(&self.database_url).await.expect("PostgreSQL should accept a connection");
        client
            .query(sql, &[])
            .await
            .expect("the query should return rows")
            .iter()
            .map(|row| row.get(0))
            .collect()
    }

    pub async fn execute(&self, sql: &str) {
        let client =
            connect(&self.database_url).await.expect("PostgreSQL should accept a connection");
        client.batch_execute(sql).await.expect("the SQL should run");
    }

    /// Waits until at least this number of activities is stored.
    pub async fn wait_rows(&self, rows: i64, deadline: Duration) {
        let count = async || self.number("SELECT count(*) FROM activities").await;
        wait_until("rows are stored", deadline, count, |seen| *seen >= rows).await;
    }

    /// Waits until the SQL returns this number.
    pub async fn wait_number(&self, sql: &str, wanted: i64, deadline: Duration) {
        let count = async || self.number(sql).await;
        wait_until(sql, deadline, count, |seen| *seen == wanted).await;
    }
}

impl Webhook {
    /// The webhook in the output of `webhook create --json` or `webhook rotate --json`.
    pub fn of(output: &Value) -> Self {
        let url = output["url"].as_str().expect("the output should contain a URL");
        let path = crate::http::split(url).1.to_owned();
        let token = path.rsplit('/').next().expect("the URL should contain a token").to_owned();
        Self {
            id: output["id"].as_str().expect("the output should contain an id").to_owned(),
            path,
            token,
        }
    }

    pub async fn url(&self, gateway: &Role) -> String {
        format!("{}{}", gateway.ingress_url().await, self.path)
    }
}

/// Removes the `TRAILPAD_*` variables of the environment from a command.
pub fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRAILPAD_")) {
        command.env_remove(name);
    }
    command
}

/// Path of a binary of this workspace, next to the running test.
pub fn binary(name: &str) -> PathBuf {
    let mut dir = std::env::current_exe().expect("the path of the test should be known");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir.join(name)
}
