//! What could not be stored, and its repair, on servers and on files.

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

/// The running product, whatever it runs on.
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

    async fn say(&self, words: &[&str]) -> String {
        let output = self.command(words).output().await.expect("the binary is built");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "trailpad {words:?}: {error}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    async fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.say(&[words, &["--json"]].concat()).await).expect("JSON")
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

    async fn add_stranger(&self) -> String {
        let words = ["member", "add", "--workspace", self.workspace, "--email", "jane@example.com"];
        self.say(&words).await
    }
}

fn of_stranger(external_id: usize) -> String {
    format!(
        r#"{{"title":"T","startTime":"2024-08-03T11:30:00Z","externalId":"a-{external_id}","memberEmail":"Jane@Example.com"}}"#
    )
}

#[tokio::test]
async fn a_dead_letter_is_seen_and_replayed_once_its_member_is_there_on_servers() {
    seen_and_replayed(Product::on_servers().await).await;
}

#[tokio::test]
async fn a_dead_letter_is_seen_and_replayed_once_its_member_is_there_on_files() {
    seen_and_replayed(Product::on_files().await).await;
}

async fn seen_and_replayed(product: Product) {
    let answer = post(&product.url, &of_stranger(1)).await;
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    product.wait_number(OPEN, 1, SOON).await;

    let listed = product.json(&["dead-letter", "list"]).await;
    assert_eq!(listed[0]["id"], id.as_str());
    assert_eq!(listed[0]["state"], "open");
    assert_eq!(listed[0]["memberEmail"], "jane@example.com");
    let shown = product.say(&["dead-letter", "show", &id]).await;
    assert!(shown.contains("jane@example.com") && shown.contains(&id), "{shown}");
    let payload = product.say(&["dead-letter", "show", &id, "--payload"]).await;
    assert_eq!(payload.trim_end(), of_stranger(1));

    // Replayed before the member is there it dies again, and is open again.
    let replayed = product.json(&["dead-letter", "replay", &id]).await;
    assert_eq!(replayed, json!({ "replayed": 1, "unreadable": 0 }));
    let died_again = "SELECT count(*) FROM dead_letters WHERE attempts = 2 AND replayed_at IS NULL";
    product.wait_number(died_again, 1, SOON).await;

    let added = product.add_stranger().await;
    assert!(added.contains("1 dead letter waits for this member"), "{added}");
    let by_member = ["--workspace", product.workspace, "--member", "jane@example.com"];
    let hinted = format!(
        "trailpad dead-letter replay --workspace {:?} --member jane@example.com",
        product.workspace
    );
    assert!(added.contains(&hinted), "{added}");
    let foretold =
        product.json(&[&["dead-letter", "replay", "--dry-run"], &by_member[..]].concat()).await;
    assert_eq!(foretold, json!({ "matching": 1 }));
    assert_eq!(product.number(OPEN).await, 1);

    let said = product
        .say(&[&["dead-letter", "replay", "--by", "an operator"], &by_member[..]].concat())
        .await;
    assert_eq!(said, "1 dead letter replayed.\n");
    product.wait_number(ROWS, 1, SOON).await;
    let stored = product.json(&["activity", "list"]).await;
    assert_eq!(stored[0]["id"], id.as_str());
    assert_eq!(stored[0]["memberEmail"], "jane@example.com");
    assert_eq!(product.json(&["dead-letter", "list"]).await, json!([]));
    assert_eq!(product.json(&["dead-letter", "list", "--all"]).await[0]["state"], "settled");
    let recorded = "SELECT count(*) FROM dead_letter_actions WHERE action = 'replay' AND done_by = 'an operator'";
    assert_eq!(product.number(recorded).await, 1);
}

#[tokio::test]
async fn a_discarded_dead_letter_is_not_replayed_and_stays_on_record_on_servers() {
    discarded(Product::on_servers().await).await;
}

#[tokio::test]
async fn a_discarded_dead_letter_is_not_replayed_and_stays_on_record_on_files() {
    discarded(Product::on_files().await).await;
}

async fn discarded(product: Product) {
    assert_eq!(post(&product.url, &of_stranger(1)).await.status, 202);
    product.wait_number(OPEN, 1, SOON).await;
    let refused = product.command(&["dead-letter", "discard", "--yes"]).output().await;
    let refused = String::from_utf8(refused.expect("it runs").stderr).expect("UTF-8");
    assert!(refused.contains("--all"), "everything has to be asked for by name: {refused}");
    let said = product.say(&["dead-letter", "discard", "--reason", "unknown-member"]).await;
    assert!(said.contains("1 open dead letter would be discarded") && said.contains("--yes"));
    assert_eq!(product.number(OPEN).await, 1);
    let said = product.say(&["dead-letter", "discard", "--all", "--yes"]).await;
    assert_eq!(said, "1 dead letter discarded.\n");
    product.add_stranger().await;
    assert_eq!(
        product.say(&["dead-letter", "replay", "--all"]).await,
        "0 dead letters replayed.\n"
    );
    assert_eq!(product.json(&["dead-letter", "list", "--all"]).await[0]["state"], "discarded");
    assert_eq!(product.number(ROWS).await, 0);
}

#[tokio::test]
async fn ten_thousand_are_listed_and_replayed_though_the_replay_is_killed_on_servers() {
    ten_thousand(Product::on_servers().await).await;
}

#[tokio::test]
async fn ten_thousand_are_listed_and_replayed_though_the_replay_is_killed_on_files() {
    ten_thousand(Product::on_files().await).await;
}

async fn ten_thousand(product: Product) {
    let url = product.url.clone();
    let seen = flood(move || url.clone(), MANY, 50, of_stranger).await;
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    product.wait_number(OPEN, MANY_ROWS, LONG).await;
    let listed = product.json(&["dead-letter", "list", "--limit", "20000"]).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(MANY));
    product.add_stranger().await;

    let words = ["dead-letter", "replay", "--all", "--rate", "4000"];
    let mut replay = product.command(&words).kill_on_drop(true).spawn().expect("it is built");
    let some = async || product.number(ROWS).await;
    wait_until("some are replayed", SOON, some, |rows| *rows >= 1_000).await;
    replay.start_kill().expect("it runs");
    assert!(!replay.wait().await.expect("it ended").success(), "killed half way");
    let left = product.number(OPEN).await;
    assert!(left > 0, "it was killed half way");

    let rest = product.json(&["dead-letter", "replay", "--all", "--rate", "100000"]).await;
    assert!(rest["replayed"].as_i64().expect("a number") <= left);
    product.wait_number(ROWS, MANY_ROWS, LONG).await;
    product
        .wait_number("SELECT count(DISTINCT external_id) FROM activities", MANY_ROWS, SOON)
        .await;
    assert_eq!(product.json(&["dead-letter", "list"]).await, json!([]));
}
