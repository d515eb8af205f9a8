//! `trailpad backup`: a copy of the embedded files that restores to what was acknowledged.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use trailpad_tests::http::post;
use trailpad_tests::{Embedded, Sandbox, wait_until};

use super::activity;
use super::embedded_faults::{LONG, assert_sound, send};

const ROWS: &str = "SELECT count(*) FROM activities";
const FILES: [&str; 2] = ["queue.db", "store.db"];

/// Number of rows of each title.
fn titles(directory: &Path) -> HashMap<String, usize> {
    let connection = Connection::open(directory.join("store.db")).expect("the store should open");
    let sql = "SELECT title, count(*) FROM activities GROUP BY title";
    let mut statement = connection.prepare(sql).expect("the SQL should run");
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
        .expect("the query should return rows");
    rows.map(|row| row.expect("the row should be read"))
        .map(|(title, count)| (title, usize::try_from(count).expect("a count is not negative")))
        .collect()
}

fn assert_once(titles: &HashMap<String, usize>, acknowledged: &[String]) {
    let lost: Vec<_> = acknowledged.iter().filter(|title| !titles.contains_key(*title)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    let twice: Vec<_> = titles.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

/// Posts until `stop`. Returns the titles that were answered 202 so far whenever it is asked.
struct Senders {
    tasks: Vec<tokio::task::JoinHandle<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl Senders {
    fn start(url: &str, first: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let url = Arc::new(std::sync::Mutex::new(url.to_owned()));
        let numbers = first..first + 4;
        let tasks = numbers.map(|at| tokio::spawn(send(at, url.clone(), stop.clone()))).collect();
        Self { tasks, stop }
    }

    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut titles = Vec::new();
        for task in self.tasks {
            titles.extend(task.await.expect("the sender should not panic"));
        }
        titles
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_restored_with_every_acknowledged_activity_exactly_once() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let url = embedded.url(&serve).await;
    // These are acknowledged before the backup begins, and many of them are still in the queue.
    // The others keep posting while it runs.
    let others = Senders::start(&url, 100);
    let senders = Senders::start(&url, 0);
    wait_until("rows are stored", LONG, async || embedded.number(ROWS), |rows| *rows > 3_000).await;
    let acknowledged = senders.stop().await;
    let place = tempfile::tempdir().expect("creating a directory should succeed");
    let backup = place.path().join("backup");
    let began = Instant::now();
    let answer =
        embedded.json(&["backup", backup.to_str().expect("the path should be UTF-8")]).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(others.stop().await.len() > 100);
    for (at, name) in FILES.iter().enumerate() {
        let file = fs::metadata(backup.join(name)).expect("the file should exist");
        assert_eq!(answer["files"][at]["file"], *name);
        assert_eq!(answer["files"][at]["bytes"], file.len());
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let mode = fs::metadata(&backup).expect("the directory should exist").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_sound(&backup);

    // Into a new directory.
    let restored = Embedded::default();
    restore(&backup, restored.path());
    let again = restored.serve(&[]).await;
    restored.wait_empty(LONG).await;
    assert_once(&titles(restored.path()), &acknowledged);
    assert_eq!(again.terminate().await, Some(0));

    // Over the files of a process that was killed.
    serve.kill().await;
    assert!(embedded.path().join("store.db-wal").exists());
    restore(&backup, embedded.path());
    let again = embedded.serve(&[]).await;
    embedded.wait_empty(LONG).await;
    assert_once(&titles(embedded.path()), &acknowledged);
    assert_eq!(post(&embedded.url(&again).await, &activity("x")).await.status, 202);
    assert_sound(embedded.path());
}

/// The steps of docs/operations.md, after `serve` has ended.
fn restore(backup: &Path, directory: &Path) {
    fs::create_dir_all(directory).expect("creating the directory should succeed");
    for name in FILES {
        for suffix in ["-wal", "-shm"] {
            let _ = fs::remove_file(directory.join(format!("{name}{suffix}")));
        }
        fs::copy(backup.join(name), directory.join(name)).expect("copying should succeed");
    }
}

#[tokio::test]
async fn a_backup_overwrites_nothing() {
    let embedded = Embedded::default();
    let _serve = embedded.serve(&[]).await;
    let place = tempfile::tempdir().expect("creating a directory should succeed");
    let target = place.path().to_str().expect("the path should be UTF-8");
    fs::write(place.path().join("store.db"), "precious").expect("writing should succeed");
    let output = embedded.run(&["backup", target]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("exists already") && stderr.contains(target), "{stderr}");
    let kept = fs::read(place.path().join("store.db")).expect("the file should exist");
    assert_eq!(kept, b"precious");
    let parent = place.path().parent().expect("the directory should have a parent");
    let missing = parent.join("missing-directory").join("backup");
    let output =
        embedded.run(&["backup", missing.to_str().expect("the path should be UTF-8")]).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("can't write") && stderr.contains("missing-directory"), "{stderr}");
}

#[tokio::test]
async fn a_backup_of_postgresql_is_rejected_and_names_its_tools() {
    let sandbox = Sandbox::new().await;
    let embedded = Embedded::default();
    let mut command = embedded.command(&["backup", "somewhere"]);
    command.env("TRAILPAD_DATABASE_URL", &sandbox.database_url);
    let output = command.output().await.expect("the command should start");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("pg_basebackup") && stderr.contains("pg_dump"), "{stderr}");
}
