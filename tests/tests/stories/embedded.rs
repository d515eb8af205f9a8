//! The product without servers: one process on files.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;
use trailpad_tests::http::{Seen, flood, post};
use trailpad_tests::{Embedded, Sandbox, wait_until};

use super::{SOON, activity};

const DOCUMENTED: &str = r#"{
    "title": "Customer Inquiry Handled",
    "description": "Handled customer inquiry from Jane Doe regarding billing.",
    "startTime": "2024-08-03T11:30:00Z",
    "trigger": "Manual Log",
    "event": "Call Center Log",
    "externalId": "call-log-9876"
}"#;

#[tokio::test]
async fn a_first_serve_accepts_an_activity_and_assigns_it_to_the_owner() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let file = embedded.url_file(&serve);
    assert!(serve.log_text().contains("first-webhook-url"), "the log names the file");
    let mode =
        |path| std::fs::metadata(path).expect("the file should exist").permissions().mode() & 0o777;
    assert_eq!(mode(file.clone()), 0o600, "readable by the owner only");
    assert_eq!(mode(embedded.path().to_owned()), 0o700);
    for name in ["store.db", "queue.db", "store.db-wal", "queue.db-wal"] {
        assert_eq!(mode(embedded.path().join(name)), 0o600, "{name}");
    }

    assert_eq!(post(&embedded.url(&serve).await, DOCUMENTED).await.status, 202);
    let list = async || embedded.json(&["activity", "list"]).await;
    let rows = wait_until("it is listed", SOON, list, |rows| rows != &json!([])).await;
    assert_eq!(rows[0]["title"], "Customer Inquiry Handled");
    assert_eq!(rows[0]["memberEmail"], "owner@example.com");
    assert_eq!(rows[0]["externalId"], "call-log-9876");

    let url = std::fs::read_to_string(file).expect("reading the file should succeed");
    let token = url.trim().rsplit('/').next().expect("the URL should contain a token").to_owned();
    assert!(!serve.log_text().contains(&token));
    assert_eq!(serve.terminate().await, Some(0));
    let again = embedded.serve(&[]).await;
    assert!(!again.log_text().contains("first-webhook-url"), "created once");
    assert_eq!(post(&embedded.url(&again).await, DOCUMENTED).await.status, 202);
    embedded.wait_empty(SOON).await;
    assert_eq!(embedded.number("SELECT count(*) FROM activities"), 1, "the same externalId");
}

#[tokio::test]
async fn commands_work_on_the_data_directory_while_serve_runs() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&["--retry-schedule", "200ms,200ms,200ms"]).await;
    let words = ["--workspace", "My Workspace"];
    let create = ["webhook", "create", "--project", "My Project", "--name", "Second"];
    let creator = ["--creator", "owner@example.com"];
    let created = embedded.json(&[&create[..], &words, &creator].concat()).await;
    let path = created["url"]
        .as_str()
        .expect("the output should contain a URL")
        .splitn(4, '/')
        .nth(3)
        .expect("the output should contain a path")
        .to_owned();
    let url = format!("{}/{path}", serve.ingress_url().await);
    assert_eq!(post(&url, &activity("x")).await.status, 202, "it works at its first post");
    let unknown =
        r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"jane@example.com"}"#;
    assert_eq!(post(&url, unknown).await.status, 202);
    let list = async || embedded.json(&["dead-letter", "list"]).await;
    let dead = wait_until("it becomes a dead letter", SOON, list, |dead| dead != &json!([])).await;
    assert_eq!((&dead[0]["reason"], &dead[0]["attempts"]), (&json!("unknown-member"), &json!(4)));

    let add = ["member", "add", "--email", "jane@example.com"];
    embedded.json(&[&add[..], &words].concat()).await;
    assert_eq!(post(&url, unknown).await.status, 202);
    let jane = "SELECT count(*) FROM activities a JOIN members m ON m.id = a.member_id
                WHERE m.email = 'jane@example.com'";
    embedded.wait_number(jane, 1, SOON).await;

    let id = created["id"].as_str().expect("the output should contain an id");
    embedded.json(&["webhook", "revoke", id]).await;
    let ask = async || post(&url, &activity("y")).await.status;
    wait_until("it is revoked", Duration::from_secs(2), ask, |status| *status == 410).await;
}

#[tokio::test]
async fn commands_that_conflict_with_a_running_serve_are_rejected_with_an_explanation() {
    let embedded = Embedded::default();
    let before = embedded.run(&["activity", "list"]).await;
    assert_eq!(before.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&before.stderr).into_owned();
    assert!(stderr.contains("`trailpad serve` creates it"), "{stderr}");
    assert!(!embedded.path().exists(), "reading creates nothing");

    let _serve = embedded.serve(&[]).await;
    for (words, code, sentence) in [
        (["serve"], 1, "is served by another process"),
        (["migrate"], 1, "is served by another process"),
        (["gateway"], 2, "`trailpad serve` runs every role in one process"),
        (["worker"], 2, "`trailpad serve` runs every role in one process"),
    ] {
        let output = embedded.run(&words).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {stderr}");
        assert!(stderr.contains(sentence), "{words:?}: {stderr}");
    }
}

#[tokio::test]
async fn a_first_start_that_fails_does_not_use_up_the_first_webhook() {
    let embedded = Embedded::default();
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("binding a port should succeed");
    let address = other.local_addr().expect("the listener should have an address").to_string();
    for flag in ["--listen", "--ops-listen"] {
        let output = embedded.run(&["serve", flag, &address]).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&address), "{stderr}");
    }
    let serve = embedded.serve(&[]).await;
    assert_eq!(post(&embedded.url(&serve).await, DOCUMENTED).await.status, 202);
}

#[tokio::test]
async fn activities_accepted_before_a_drain_are_stored_during_or_after_it() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let url = embedded.url(&serve).await;
    let body = |at| activity(&format!("a-{at}"));
    let seen = flood(move || url.clone(), 2_000, 20, body).await;
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    assert_eq!(serve.terminate().await, Some(0));
    let _serve = embedded.serve(&[]).await;
    embedded.wait_number("SELECT count(*) FROM activities", 2_000, SOON).await;
    embedded.wait_empty(SOON).await;
}

#[tokio::test]
async fn with_urls_serve_uses_servers_instead_of_files() {
    let sandbox = Sandbox::new().await;
    let embedded = Embedded::default();
    let mut command = embedded.command(&["serve"]);
    command.env("TRAILPAD_DATABASE_URL", &sandbox.database_url);
    command.env("TRAILPAD_AMQP_URL", &sandbox.amqp_url).env("TRAILPAD_QUEUE", &sandbox.queue);
    let serve = trailpad_tests::Role::spawn("serve", command);
    serve.wait_serving().await;
    assert_eq!(post(&embedded.url(&serve).await, DOCUMENTED).await.status, 202);
    sandbox.wait_rows(1, SOON).await;
    assert!(!embedded.path().join("store.db").exists());
    assert_eq!(serve.terminate().await, Some(0));
}

#[tokio::test]
async fn an_idle_serve_uses_almost_no_processor_time_and_little_memory() {
    const WATCHED: Duration = Duration::from_secs(3);
    /// utime and stime of `/proc/<pid>/stat`, in hundredths of a second on Linux (proc(5),
    /// sysconf(_SC_CLK_TCK)).
    fn ticks(pid: u32) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .expect("the process should be running");
        let fields: Vec<&str> =
            stat.rsplit(") ").next().expect("the line should have fields").split(' ').collect();
        fields[11].parse::<u64>().expect("utime should be a number")
            + fields[12].parse::<u64>().expect("stime should be a number")
    }
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    assert_eq!(post(&embedded.url(&serve).await, DOCUMENTED).await.status, 202);
    embedded.wait_number("SELECT count(*) FROM activities", 1, SOON).await;
    let before = ticks(serve.pid());
    // A plain sleep: the test measures an idle process, so no event is expected.
    tokio::time::sleep(WATCHED).await;
    let used = ticks(serve.pid()) - before;
    assert!(used <= 6, "{used} hundredths of a second in {WATCHED:?}, which is above 2 %");
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.pid()))
        .expect("the process should be running");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("the status should contain VmRSS");
    let kib: u64 = line
        .split_whitespace()
        .nth(1)
        .expect("the line should have a value")
        .parse()
        .expect("the value should be a number");
    assert!(kib < 50 * 1_024, "{kib} KiB");
}
