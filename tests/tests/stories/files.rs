//! The files of `trailpad serve`: space that comes back, and looks that write nothing.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use rusqlite::Connection;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use trailpad_tests::http::{Seen, flood, post};
use trailpad_tests::{Embedded, Role, wait_until};

use super::embedded_faults::{LONG, assert_sound, fill};
use super::{SOON, activity};

const MIB: u64 = 1 << 20;
const ROWS: &str = "SELECT count(*) FROM activities";

/// An activity of about this many bytes.
fn large(title: &str, bytes: usize) -> String {
    let text = "d".repeat(bytes);
    format!(
        r#"{{"title":"{title}","startTime":"2024-08-03T11:30:00Z","metadata":{{"text":"{text}"}}}}"#
    )
}

/// `serve` on a file system of 64 MiB, of which it keeps 8 MiB free.
async fn on_small_disk(embedded: &Embedded, words: &[&str]) -> Role {
    let free_bytes_min = (8 * MIB).to_string();
    let first = ["serve", "--free-bytes-min", &free_bytes_min];
    let command = embedded.command_on_tmpfs("size=64m", &[&first, words].concat());
    let serve = Role::spawn("serve", command);
    serve.wait_serving().await;
    serve
}

async fn rows_beside(embedded: &Embedded, serve: &Role) -> usize {
    let list = ["activity", "list", "--json", "--limit", "10000"];
    let mut command = embedded.command_beside(serve, &list);
    let output = command.output().await.expect("the command should start");
    let rows: Vec<serde_json::Value> =
        serde_json::from_slice(&output.stdout).expect("the output should be JSON");
    rows.len()
}

#[tokio::test]
async fn after_a_purge_of_a_full_disk_activities_are_accepted_and_the_file_is_small() {
    let embedded = Embedded::default();
    let serve = on_small_disk(&embedded, &[]).await;
    let url = embedded.url(&serve).await;
    let rows = async || rows_beside(&embedded, &serve).await;
    let mut accepted = 0;
    // Space is kept for the queued activities too, so the disk is full only if activities are still
    // refused once all are stored.
    let mut was_drained = false;
    loop {
        match post(&url, &large("T", 60_000)).await.status {
            202 => {
                accepted += 1;
                was_drained = false;
                assert!(accepted < 2_000, "the disk should be full");
            }
            503 if was_drained => break,
            503 => {
                wait_until("all are stored", LONG, rows, |rows| *rows == accepted).await;
                let ask = async || post(&url, &large("T", 60_000)).await.status;
                let accepts = wait_until("it accepts again", LONG, ask, |status| *status == 202);
                // The writer checks the disk every second.
                was_drained =
                    tokio::time::timeout(2 * Duration::from_secs(1), accepts).await.is_err();
                accepted += usize::from(!was_drained);
            }
            status => panic!("{status}"),
        }
    }
    serve.wait_unready("are kept for storing accepted activities").await;

    let purge = ["purge", "--activities-older-than", "0s", "--yes"];
    let output = embedded.command_beside(&serve, &purge).output().await;
    let output = output.expect("the command should start");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(&format!("{accepted} activities")), "{text}");
    let ask = async || post(&url, &large("T", 60_000)).await.status;
    wait_until("it is accepted again", SOON, ask, |status| *status == 202).await;
    serve.wait_ready().await;
    let store = embedded.seen_by(&serve).join("store.db");
    let size = async || fs::metadata(&store).expect("the file should exist").len();
    wait_until("the file is small", SOON, size, |bytes| *bytes < 4 * MIB).await;
}

#[tokio::test]
async fn a_queue_that_was_large_returns_its_space_while_it_is_idle() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let url = embedded.url(&serve).await;
    let lock = Connection::open(embedded.path().join("store.db")).expect("it should open");
    lock.busy_timeout(SOON).expect("setting the busy timeout should succeed");
    lock.execute_batch("BEGIN IMMEDIATE").expect("the lock should be taken");
    let body = |at: usize| large(&at.to_string(), 100_000);
    let seen = flood(move || url.clone(), 200, 4, body).await;
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)));
    let size = async || {
        let queue = embedded.path().join("queue.db");
        fs::metadata(queue).expect("the file should exist").len()
    };
    wait_until("the backlog is in the file", SOON, size, |bytes| *bytes > 16 * MIB).await;
    drop(lock);
    embedded.wait_number(ROWS, 200, LONG).await;
    wait_until("the file is small", SOON, size, |bytes| *bytes < 2 * MIB).await;
    assert_sound(embedded.path());
}

/// A process that keeps the store from being written, beside a `serve` on a small disk.
async fn lock_beside(embedded: &Embedded, serve: &Role) -> Child {
    const LOCK: &str = r#"
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
store.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"#;
    let mut command = Command::new("nsenter");
    command.args(["--target", &serve.pid().to_string()]);
    command.args(["--user", "--preserve-credentials", "--mount", "--", "python3", "-c", LOCK]);
    command.arg(embedded.path().join("store.db"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the command should start");
    let output = child.stdout.as_mut().expect("the output should be piped");
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).await.expect("the output should be read");
    assert_eq!(line.trim(), "locked");
    child
}

/// The worker republishes while the disk rule refuses activities of senders.
#[tokio::test]
async fn on_a_nearly_full_disk_a_worker_that_held_stores_everything_once_the_store_is_back() {
    const ACTIVITIES: usize = 20;
    let embedded = Embedded::default();
    let serve = on_small_disk(&embedded, &["--hold-max", "1s"]).await;
    let url = embedded.url(&serve).await;
    let lock = lock_beside(&embedded, &serve).await;
    for at in 0..ACTIVITIES {
        assert_eq!(post(&url, &large(&at.to_string(), 60_000)).await.status, 202);
    }
    let directory = embedded.seen_by(&serve);
    fill(&directory.join("filler"), &directory, 10 * MIB);
    let ask = async || post(&url, &activity("refused")).await.status;
    wait_until("senders are refused", SOON, ask, |status| *status == 503).await;
    serve.wait_log("publishing the held messages again").await;
    drop(lock);
    let rows = async || rows_beside(&embedded, &serve).await;
    wait_until("all are stored", LONG, rows, |rows| *rows >= ACTIVITIES).await;
}

#[tokio::test]
async fn a_damaged_file_beside_its_write_ahead_log_is_rejected_and_no_byte_changes() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let url = embedded.url(&serve).await;
    let body = |at: usize| large(&at.to_string(), 30_000);
    flood(move || url.clone(), 100, 4, body).await;
    embedded.wait_number(ROWS, 100, SOON).await;
    // A reader keeps the later activities in the log, and only those.
    let reader = Connection::open(embedded.path().join("store.db")).expect("it should open");
    reader.busy_timeout(SOON).expect("setting the busy timeout should succeed");
    reader
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .expect("the checkpoint should succeed");
    reader.execute_batch("BEGIN").expect("the transaction should begin");
    let _: i64 = reader.query_row(ROWS, [], |row| row.get(0)).expect("the rows should be counted");
    let url = embedded.url(&serve).await;
    assert_eq!(post(&url, &activity("in the log")).await.status, 202);
    embedded.wait_number(ROWS, 101, SOON).await;
    serve.kill().await;
    let store = embedded.path().join("store.db");
    let copy = Embedded::default();
    fs::create_dir_all(copy.path()).expect("creating the directory should succeed");
    for name in ["store.db", "queue.db"] {
        for suffix in ["", "-wal", "-shm"] {
            let name = format!("{name}{suffix}");
            fs::copy(embedded.path().join(&name), copy.path().join(&name))
                .expect("copying should succeed");
        }
    }
    drop(reader);
    let store = copy.path().join(store.file_name().expect("the path should have a name"));
    let mut file =
        OpenOptions::new().write(true).open(&store).expect("opening the file should succeed");
    // Every second page, because the log may hold the others too.
    let pages = file.metadata().expect("the file should have a size").len() / 4_096;
    assert!(pages > 500, "{pages} pages");
    for page in (1..pages).step_by(2) {
        file.seek(SeekFrom::Start(page * 4_096)).expect("seeking should succeed");
        file.write_all(&[0xA5; 4_096]).expect("writing should succeed");
    }
    drop(file);
    let bytes = || {
        ["store.db", "store.db-wal", "store.db-shm"]
            .map(|name| fs::read(copy.path().join(name)).expect("reading should succeed"))
    };
    let before = bytes();
    assert!(before[1].len() > 4_096, "the log holds pages");
    let run = copy.run(&["serve"]);
    let output = tokio::time::timeout(SOON, run).await.expect("serve should end");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("store.db") && stderr.contains("damaged"), "{stderr}");
    for (name, (before, after)) in ["file", "log", "index"].iter().zip(before.iter().zip(bytes())) {
        assert!(*before == after, "the {name} changed");
    }
}

#[tokio::test]
async fn a_data_directory_without_permission_is_not_reported_as_empty() {
    let embedded = Embedded::default();
    assert_eq!(embedded.serve(&[]).await.terminate().await, Some(0));
    let set = |mode| {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(embedded.path(), permissions).expect("setting rights should succeed");
    };
    set(0o000);
    // In a user namespace of its own, root has no rights beyond those of the mode.
    let mut command = Command::new("unshare");
    command.args(["--user", "--"]).arg(trailpad_tests::sandbox::binary("trailpad"));
    command.args(["webhook", "list"]).env("TRAILPAD_DATA_DIR", embedded.path());
    let output = command.output().await.expect("the command should start");
    set(0o700);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("Permission denied") && stderr.contains("store.db"), "{stderr}");
    assert!(!stderr.contains("holds no data"), "{stderr}");
}

#[tokio::test]
async fn a_reader_that_makes_the_log_grow_is_reported() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let url = embedded.url(&serve).await;
    let reader = Connection::open(embedded.path().join("store.db")).expect("it should open");
    reader.execute_batch("BEGIN").expect("the transaction should begin");
    let _: i64 = reader.query_row(ROWS, [], |row| row.get(0)).expect("the rows should be counted");
    let body = |at: usize| large(&at.to_string(), 200_000);
    let flood_url = url.clone();
    let seen = flood(move || flood_url.clone(), 400, 4, body).await;
    assert!(seen.iter().all(|(_, seen)| *seen == Seen::Status(202)), "senders notice nothing");
    embedded.wait_number(ROWS, 400, LONG).await;
    serve.wait_log("the write-ahead log grows").await;
    let metric = r#"trailpad_files_wal_bytes{file="store.db"}"#;
    let bytes = serve.metrics().await[metric];
    assert!(bytes > 64.0 * MIB as f64, "{bytes} bytes");
    assert!(serve.metrics().await[r#"trailpad_files_wal_bytes{file="queue.db"}"#] < bytes / 2.0);

    drop(reader);
    let write = async || {
        assert_eq!(post(&url, &large("T", 10_000)).await.status, 202);
        serve.metrics().await[metric]
    };
    wait_until("the log is small", LONG, write, |bytes| *bytes <= 16.0 * MIB as f64).await;
    serve.wait_log("the write-ahead log is small again").await;
}
