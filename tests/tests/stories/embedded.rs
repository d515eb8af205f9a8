//! The product without any server: one process on files.

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
async fn a_newcomer_serves_posts_and_sees_the_activity_assigned_to_the_owner() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let file = embedded.url_file(&serve);
    assert!(serve.log_text().contains("first-webhook-url"), "the log names the file");
    let mode = |path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(file.clone()), 0o600, "for its owner alone");
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

    let url = std::fs::read_to_string(file).expect("readable");
    let token = url.trim().rsplit('/').next().expect("a token").to_owned();
    assert!(!serve.log_text().contains(&token));
    assert_eq!(serve.terminate().await, Some(0));
    let again = embedded.serve(&[]).await;
    assert!(!again.log_text().contains("first-webhook-url"), "made once");
    assert_eq!(post(&embedded.url(&again).await, DOCUMENTED).await.status, 202);
    embedded.wait_empty(SOON).await;
    assert_eq!(embedded.number("SELECT count(*) FROM activities"), 1, "the same externalId");
}

#[tokio::test]
async fn commands_work_on_the_directory_while_it_is_served() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&["--retry-schedule", "200ms,200ms,200ms"]).await;
    let words = ["--workspace", "My Workspace"];
    let create = ["webhook", "create", "--project", "My Project", "--name", "Second"];
    let creator = ["--creator", "owner@example.com"];
    let made = embedded.json(&[&create[..], &words, &creator].concat()).await;
    let path =
        made["url"].as_str().expect("a URL").splitn(4, '/').nth(3).expect("a path").to_owned();
    let url = format!("{}/{path}", serve.ingress_url().await);
    assert_eq!(post(&url, &activity("x")).await.status, 202, "works at its first post");
    let unknown =
        r#"{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"jane@example.com"}"#;
    assert_eq!(post(&url, unknown).await.status, 202);
    let list = async || embedded.json(&["dead-letter", "list"]).await;
    let dead = wait_until("it dies", SOON, list, |dead| dead != &json!([])).await;
    assert_eq!((&dead[0]["reason"], &dead[0]["attempts"]), (&json!("unknown-member"), &json!(4)));

    let add = ["member", "add", "--email", "jane@example.com"];
    embedded.json(&[&add[..], &words].concat()).await;
    assert_eq!(post(&url, unknown).await.status, 202);
    let jane = "SELECT count(*) FROM activities a JOIN members m ON m.id = a.member_id
                WHERE m.email = 'jane@example.com'";
    embedded.wait_number(jane, 1, SOON).await;

    let id = made["id"].as_str().expect("an id");
    embedded.json(&["webhook", "revoke", id]).await;
    let ask = async || post(&url, &activity("y")).await.status;
    wait_until("it is revoked", Duration::from_secs(2), ask, |status| *status == 410).await;
}

#[tokio::test]
async fn who_would_disturb_a_directory_that_is_served_is_refused_with_a_sentence() {
    let embedded = Embedded::default();
    let before = embedded.run(&["activity", "list"]).await;
    assert_eq!(before.status.code(), Some(1));
    let said = String::from_utf8_lossy(&before.stderr).into_owned();
    assert!(said.contains("`trailpad serve` makes it"), "{said}");
    assert!(!embedded.path().exists(), "looking makes nothing");

    let _serve = embedded.serve(&[]).await;
    for (words, code, sentence) in [
        (["serve"], 1, "is served by another process"),
        (["migrate"], 1, "is served by another process"),
        (["gateway"], 2, "`trailpad serve` runs every role in one process"),
        (["worker"], 2, "`trailpad serve` runs every role in one process"),
    ] {
        let output = embedded.run(&words).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(sentence), "{words:?}: {said}");
    }
}

#[tokio::test]
async fn a_first_start_that_fails_does_not_use_up_the_first_webhook() {
    let embedded = Embedded::default();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for flag in ["--listen", "--ops-listen"] {
        let output = embedded.run(&["serve", flag, &address]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&address), "{said}");
    }
    let serve = embedded.serve(&[]).await;
    assert_eq!(post(&embedded.url(&serve).await, DOCUMENTED).await.status, 202);
}

#[tokio::test]
async fn what_was_accepted_before_a_drain_is_stored_in_it_or_after_it() {
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
async fn with_urls_it_serves_on_servers_instead() {
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
async fn idle_it_takes_no_noticeable_processor_time_and_little_memory() {
    const WATCHED: Duration = Duration::from_secs(3);
    /// Of `/proc/<pid>/stat`: hundredths of a second on Linux (proc(5), sysconf(_SC_CLK_TCK)).
    fn ticks(pid: u32) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
    }
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    assert_eq!(post(&embedded.url(&serve).await, DOCUMENTED).await.status, 202);
    embedded.wait_number("SELECT count(*) FROM activities", 1, SOON).await;
    let before = ticks(serve.pid());
    // Nothing is awaited: idleness is what is measured.
    tokio::time::sleep(WATCHED).await;
    let used = ticks(serve.pid()) - before;
    assert!(used <= 6, "{used} hundredths of a second in {WATCHED:?}, which is above 2 %");
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("memory");
    let kib: u64 = line.split_whitespace().nth(1).expect("KiB").parse().expect("a number");
    assert!(kib < 50 * 1_024, "{kib} KiB");
}
