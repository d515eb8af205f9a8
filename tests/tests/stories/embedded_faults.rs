//! `trailpad serve` on files: kills, a full disk, and damaged or foreign files.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use trailpad_tests::embedded::number;
use trailpad_tests::http::{Connection as Http, JSON, post, split};
use trailpad_tests::{Embedded, Role, wait_until};

use super::SOON;

pub const LONG: Duration = Duration::from_secs(90);

/// Posts activities with distinct titles and without an externalId until `stop`. Returns the titles
/// that were answered 202.
pub async fn send(number: usize, url: Arc<Mutex<String>>, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut accepted = Vec::new();
    let mut at = 0;
    while !stop.load(Ordering::Relaxed) {
        let current = url.lock().expect("the lock should not be poisoned").clone();
        let (host, path) = split(&current);
        let Ok(mut connection) = Http::open(host).await else {
            tokio::task::yield_now().await;
            continue;
        };
        loop {
            at += 1;
            let title = format!("{number}-{at}");
            let body = format!(r#"{{"title":"{title}","startTime":"2024-08-03T11:30:00Z"}}"#);
            let answer = connection.request("POST", path, &[JSON], body.as_bytes()).await;
            match answer {
                Ok(answer) if answer.status == 202 => accepted.push(title),
                Ok(_) => {}
                Err(_) => break,
            }
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn after_repeated_kills_under_load_every_202_has_exactly_one_row() {
    const KILLS: i64 = 6;
    let embedded = Embedded::default();
    let mut serve = embedded.serve(&[]).await;
    let url = Arc::new(Mutex::new(embedded.url(&serve).await));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> =
        (0..16).map(|number| tokio::spawn(send(number, url.clone(), stop.clone()))).collect();
    let rows = "SELECT count(*) FROM activities";
    for kill in 1..=KILLS {
        let count = async || embedded.number(rows);
        wait_until("rows are stored", LONG, count, |seen| *seen >= kill * 1_000).await;
        serve.kill().await;
        serve = embedded.serve(&[]).await;
        *url.lock().expect("the lock should not be poisoned") = embedded.url(&serve).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut accepted = Vec::new();
    for sender in senders {
        accepted.extend(sender.await.expect("the sender should not panic"));
    }
    embedded.wait_empty(LONG).await;
    let mut stored: HashMap<String, usize> = HashMap::new();
    let connection =
        Connection::open(embedded.path().join("store.db")).expect("the store should open");
    let mut statement =
        connection.prepare("SELECT title FROM activities").expect("the SQL should run");
    for title in statement.query_map([], |row| row.get(0)).expect("the query should return rows") {
        *stored.entry(title.expect("the row should have a title")).or_default() += 1;
    }
    assert!(accepted.len() > 3_000, "{} were accepted", accepted.len());
    let lost: Vec<_> = accepted.iter().filter(|title| !stored.contains_key(*title)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), accepted.len());
    let twice: Vec<_> = stored.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(embedded.number("SELECT count(*) FROM dead_letters"), 0);
    assert_sound(embedded.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_it_answers_503_loses_nothing_and_recovers_when_space_is_freed() {
    const MIB: u64 = 1 << 20;
    /// More than fits into the free pages of the files: 6 MB.
    const EVES: usize = 100;
    let embedded = Embedded::default();
    let free_bytes_min = (8 * MIB).to_string();
    let words = [
        "serve",
        "--free-bytes-min",
        &free_bytes_min,
        "--retry-schedule",
        "1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s,1s",
    ];
    let serve = Role::spawn("serve", embedded.command_on_tmpfs("size=64m", &words));
    serve.wait_serving().await;
    let url = embedded.url(&serve).await;
    let directory = embedded.seen_by(&serve);
    let rows = async || {
        let list = ["activity", "list", "--json", "--limit", "1000"];
        let output = embedded
            .command_beside(&serve, &list)
            .output()
            .await
            .expect("the command should start");
        let rows: Vec<serde_json::Value> =
            serde_json::from_slice(&output.stdout).expect("the output should be JSON");
        rows.len()
    };
    let post_for = async |member: &str| {
        let description = "d".repeat(60_000);
        let body = format!(
            r#"{{"title":"T","startTime":"2024-08-03T11:30:00Z","memberEmail":"{member}","description":"{description}"}}"#
        );
        post(&url, &body).await
    };
    let add = async |member: &str| {
        let add = ["member", "add", "--workspace", "My Workspace", "--email", member];
        embedded.command_beside(&serve, &add).output().await.expect("the command should start")
    };

    // A backlog waits for its member, and the free space is just too small to accept more.
    for _ in 0..50 {
        assert_eq!(post_for("jane@example.com").await.status, 202);
    }
    let filler = directory.join("filler");
    fill(&filler, &directory, 15 * MIB);
    let accepted = std::cell::Cell::new(50);
    let ask = async || {
        let answer = post_for("jane@example.com").await;
        accepted.set(accepted.get() + usize::from(answer.status == 202));
        answer
    };
    let rejected = wait_until("it is rejected", SOON, ask, |answer| answer.status == 503).await;
    assert_eq!(rejected.problem(), "not-accepted");
    assert!(rejected.headers.contains_key("retry-after"));
    serve.wait_log("activities are refused").await;
    serve.wait_unready("are kept for storing accepted activities").await;
    assert!(add("jane@example.com").await.status.success());
    let drained = accepted.get();
    wait_until("the backlog drains", LONG, rows, |rows| *rows == drained).await;
    fs::remove_file(&filler).expect("removing the file should succeed");
    serve.wait_log("activities are accepted again").await;

    // Another backlog, and no free space at all.
    for _ in 0..EVES {
        let ask = async || post_for("eve@example.com").await.status;
        wait_until("it is accepted", SOON, ask, |status| *status == 202).await;
    }
    fill(&filler, &directory, 0);
    serve.wait_log("the disk is full").await;
    assert_eq!(post_for("jane@example.com").await.status, 503);
    fs::remove_file(&filler).expect("removing the file should succeed");
    assert!(add("eve@example.com").await.status.success());
    wait_until("all are stored", LONG, rows, |rows| *rows == drained + EVES).await;
    serve.wait_serving().await;
    assert_eq!(post_for("jane@example.com").await.status, 202);
    wait_until("another activity is stored", LONG, rows, |rows| *rows == drained + EVES + 1).await;
    let copy = tempfile::tempdir().expect("creating a directory should succeed");
    for name in ["store.db", "store.db-wal", "queue.db", "queue.db-wal"] {
        fs::copy(directory.join(name), copy.path().join(name)).expect("copying should succeed");
    }
    assert_sound(copy.path());
    assert_eq!(serve.terminate().await, Some(0));
}

/// Fills the disk of `directory` until at most `left` bytes are free.
pub fn fill(filler: &Path, directory: &Path, left: u64) {
    let mut file = fs::File::create(filler).expect("creating the file should succeed");
    let chunk = vec![0; 64 << 10];
    loop {
        let disk = rustix::fs::statvfs(directory).expect("reading the free space should succeed");
        if disk.f_bavail * disk.f_frsize <= left || file.write_all(&chunk).is_err() {
            return;
        }
    }
}

pub fn assert_sound(directory: &Path) {
    for name in ["store.db", "queue.db"] {
        let sql = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check != 'ok'";
        assert_eq!(number(&directory.join(name), sql), 0, "{name}");
    }
}

/// Starts `serve` on files that it must reject. Checks that the files are unchanged and returns the
/// error output.
async fn rejection(embedded: &Embedded) -> String {
    let read = || {
        let names = ["store.db", "queue.db", "store.db-wal", "store.db-shm"];
        names.map(|name| fs::read(embedded.path().join(name)).ok())
    };
    let before = read();
    let output = embedded.run(&["serve"]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(before == read(), "the files are unchanged: {stderr}");
    stderr
}

async fn served_once() -> Embedded {
    let embedded = Embedded::default();
    assert_eq!(embedded.serve(&[]).await.terminate().await, Some(0));
    embedded
}

#[tokio::test]
async fn a_damaged_file_is_rejected_and_left_unchanged() {
    for (at, bytes) in [(0, 4_096), (5 * 4_096, 4_096)] {
        let embedded = served_once().await;
        let path = embedded.path().join("store.db");
        let mut file =
            OpenOptions::new().write(true).open(&path).expect("opening the file should succeed");
        file.seek(SeekFrom::Start(at)).expect("seeking should succeed");
        file.write_all(&vec![0xA5; bytes]).expect("writing should succeed");
        let stderr = rejection(&embedded).await;
        assert!(stderr.contains("store.db") && stderr.contains("damaged"), "{stderr}");
    }
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_rejected_and_left_unchanged() {
    let embedded = served_once().await;
    let connection =
        Connection::open(embedded.path().join("queue.db")).expect("the database should open");
    let sql = "INSERT INTO refinery_schema_history SELECT 99, name, applied_on, checksum FROM refinery_schema_history";
    connection.execute(sql, []).expect("the SQL should run");
    drop(connection);
    let stderr = rejection(&embedded).await;
    assert!(stderr.contains("queue.db") && stderr.contains("a newer version"), "{stderr}");
}

#[tokio::test]
async fn a_database_of_another_program_is_rejected_and_left_unchanged() {
    let embedded = served_once().await;
    let path = embedded.path().join("store.db");
    fs::remove_file(&path).expect("removing the file should succeed");
    let connection = Connection::open(&path).expect("the database should open");
    connection.execute("CREATE TABLE theirs (a)", []).expect("the SQL should run");
    drop(connection);
    let stderr = rejection(&embedded).await;
    assert!(stderr.contains("store.db") && stderr.contains("something else"), "{stderr}");
}

#[tokio::test]
async fn a_read_only_directory_is_rejected_with_an_explanation() {
    let embedded = Embedded::default();
    let output = embedded
        .command_on_tmpfs("ro", &["serve"])
        .output()
        .await
        .expect("the command should start");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("Read-only") && stderr.contains("data"), "{stderr}");
}
