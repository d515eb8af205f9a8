//! Dead letters and their repair by commands, on servers and on files.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use trailpad_tests::http::{Seen, flood, post};
use trailpad_tests::{Embedded, Role, Sandbox, wait_until};

use super::SOON;

const MANY: usize = 10_000;
const MANY_ROWS: i64 = 10_000;
const LONG: Duration = Duration::from_secs(120);
const OPEN: &str =
    "SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL AND discarded_at IS NULL";
const ROWS: &str = "SELECT count(*) FROM activities";

/// The running product, on servers or on files.
struct Product {
    engines: Engines,
    workspace: &'static str,
    url: String,
    _roles: Vec<Role>,
}

enum Engines {
    Servers(Sandbox),
    Files(Embedded),
}

impl Product {
    async fn on_servers() -> Self {
        let sandbox = Sandbox::new().await;
        let webhook = sandbox.seed().await;
        let gateway = sandbox.gateway(&[]).await;
        let worker = sandbox.worker(&["--retry-schedule", "100ms"]).await;
        let url = webhook.url(&gateway).await;
        let _roles = vec![gateway, worker];
        Self { engines: Engines::Servers(sandbox), workspace: "Acme", url, _roles }
    }

    async fn on_files() -> Self {
        let embedded = Embedded::default();
        let serve = embedded.serve(&["--retry-schedule", "100ms"]).await;
        let url = embedded.url(&serve).await;
        let _roles = vec![serve];
        Self { engines: Engines::Files(embedded), workspace: "My Workspace", url, _roles }
    }

    fn command(&self, words: &[&str]) -> Command {
        match &self.engines {
            Engines::Servers(sandbox) => {
                let mut command = sandbox.command(words);
                command.env("TRAILPAD_AMQP_URL", &sandbox.amqp_url);
                command.env("TRAILPAD_QUEUE", &sandbox.queue);
                command
            }
            Engines::Files(embedded) => embedded.command(words),
        }
    }

    async fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().await.expect("the binary should be built");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "trailpad {words:?}: {error}");
        String::from_utf8(output.stdout).expect("the output should be UTF-8")
    }

    async fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[words, &["--json"]].concat()).await)
            .expect("the output should be JSON")
    }

    async fn number(&self, sql: &str) -> i64 {
        match &self.engines {
            Engines::Servers(sandbox) => sandbox.number(sql).await,
            Engines::Files(embedded) => embedded.number(sql),
        }
    }

    async fn wait_number(&self, sql: &str, wanted: i64, deadline: Duration) {
        wait_until(sql, deadline, async || self.number(sql).await, |seen| *seen == wanted).await;
    }

    async fn add_jane(&self) -> String {
        let words = ["member", "add", "--workspace", self.workspace, "--email", "jane@example.com"];
        self.run(&words).await
    }
}

fn for_jane(external_id: usize) -> String {
    format!(
        r#"{{"title":"T","startTime":"2024-08-03T11:30:00Z","externalId":"a-{external_id}","memberEmail":"Jane@Example.com"}}"#
    )
}

on_files_and_servers! {
    Product:
    a_dead_letter_is_listed_and_replayed_after_its_member_is_added,
    a_discarded_dead_letter_is_not_replayed_and_stays_on_record,
    ten_thousand_dead_letters_are_replayed_although_the_replay_is_killed,
}

async fn a_dead_letter_is_listed_and_replayed_after_its_member_is_added(product: Product) {
    let answer = post(&product.url, &for_jane(1)).await;
    let id = answer.json()["id"].as_str().expect("the output should contain an id").to_owned();
    product.wait_number(OPEN, 1, SOON).await;

    let listed = product.json(&["dead-letter", "list"]).await;
    assert_eq!(listed[0]["id"], id.as_str());
    assert_eq!(listed[0]["state"], "open");
    assert_eq!(listed[0]["memberEmail"], "jane@example.com");
    let shown = product.run(&["dead-letter", "show", &id]).await;
    assert!(shown.contains("jane@example.com") && shown.contains(&id), "{shown}");
    let payload = product.run(&["dead-letter", "show", &id, "--payload"]).await;
    assert_eq!(payload.trim_end(), for_jane(1));

    // Replayed before its member exists, it fails again and is open again.
    let replayed = product.json(&["dead-letter", "replay", &id]).await;
    assert_eq!(replayed, json!({ "replayed": 1, "unreadable": 0 }));
    let failed_again =
        "SELECT count(*) FROM dead_letters WHERE attempts = 2 AND replayed_at IS NULL";
    product.wait_number(failed_again, 1, SOON).await;

    let added = product.add_jane().await;
    assert!(added.contains("1 dead letter waits for this member"), "{added}");
    let by_member = ["--workspace", product.workspace, "--member", "jane@example.com"];
    let replay_command = format!(
        "trailpad dead-letter replay --workspace {:?} --member jane@example.com",
        product.workspace
    );
    assert!(added.contains(&replay_command), "{added}");
    let dry_run =
        product.json(&[&["dead-letter", "replay", "--dry-run"], &by_member[..]].concat()).await;
    assert_eq!(dry_run, json!({ "matching": 1 }));
    assert_eq!(product.number(OPEN).await, 1);

    let printed = product
        .run(&[&["dead-letter", "replay", "--by", "an operator"], &by_member[..]].concat())
        .await;
    assert_eq!(printed, "1 dead letter replayed.\n");
    product.wait_number(ROWS, 1, SOON).await;
    let stored = product.json(&["activity", "list"]).await;
    assert_eq!(stored[0]["id"], id.as_str());
    assert_eq!(stored[0]["memberEmail"], "jane@example.com");
    assert_eq!(product.json(&["dead-letter", "list"]).await, json!([]));
    assert_eq!(product.json(&["dead-letter", "list", "--all"]).await[0]["state"], "settled");
    let recorded = "SELECT count(*) FROM dead_letter_actions WHERE action = 'replay' AND done_by = 'an operator'";
    assert_eq!(product.number(recorded).await, 1);
}

async fn a_discarded_dead_letter_is_not_replayed_and_stays_on_record(product: Product) {
    assert_eq!(post(&product.url, &for_jane(1)).await.status, 202);
    product.wait_number(OPEN, 1, SOON).await;
    let rejected = product.command(&["dead-letter", "discard", "--yes"]).output().await;
    let rejected = String::from_utf8(rejected.expect("the command should start").stderr)
        .expect("the output should be UTF-8");
    assert!(rejected.contains("--all"), "discarding everything needs --all: {rejected}");
    let printed = product.run(&["dead-letter", "discard", "--reason", "unknown-member"]).await;
    assert!(printed.contains("1 open dead letter would be discarded") && printed.contains("--yes"));
    assert_eq!(product.number(OPEN).await, 1);
    let printed = product.run(&["dead-letter", "discard", "--all", "--yes"]).await;
    assert_eq!(printed, "1 dead letter discarded.\n");
    product.add_jane().await;
    assert_eq!(
        product.run(&["dead-letter", "replay", "--all"]).await,
        "0 dead letters replayed.\n"
    );
    assert_eq!(product.json(&["dead-letter", "list", "--all"]).await[0]["state"], "discarded");
    assert_eq!(product.number(ROWS).await, 0);
}

async fn ten_thousand_dead_letters_are_replayed_although_the_replay_is_killed(product: Product) {
    let url = product.url.clone();
    let seen = flood(move || url.clone(), MANY, 50, for_jane).await;
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    product.wait_number(OPEN, MANY_ROWS, LONG).await;
    let listed = product.json(&["dead-letter", "list", "--limit", "20000"]).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(MANY));
    product.add_jane().await;

    let words = ["dead-letter", "replay", "--all", "--rate", "4000"];
    let mut replay =
        product.command(&words).kill_on_drop(true).spawn().expect("the binary should be built");
    let rows = async || product.number(ROWS).await;
    wait_until("some are replayed", SOON, rows, |rows| *rows >= 1_000).await;
    replay.start_kill().expect("the process should be running");
    assert!(
        !replay.wait().await.expect("the process should end").success(),
        "the replay was killed half way"
    );
    let left = product.number(OPEN).await;
    assert!(left > 0, "the replay was killed half way");

    let rest = product.json(&["dead-letter", "replay", "--all", "--rate", "100000"]).await;
    assert!(rest["replayed"].as_i64().expect("the value should be a number") <= left);
    product.wait_number(ROWS, MANY_ROWS, LONG).await;
    product
        .wait_number("SELECT count(DISTINCT external_id) FROM activities", MANY_ROWS, SOON)
        .await;
    assert_eq!(product.json(&["dead-letter", "list"]).await, json!([]));
}
