//! One process on files, against what SQLite does alone with the same rows and settings.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior, params};
use trailpad_common::id::ActivityId;
use trailpad_common::timestamp::Timestamp;
use trailpad_engines::sqlite::{DataDir, SqliteQueue};
use trailpad_tests::{Embedded, wait_until};
use uuid::Uuid;

use crate::accepted::wrk;
use crate::stored::{DEADLINE, DESCRIPTION, ROWS, ROWS_PER_STATEMENT, TITLE, publish_backlog};

/// Over HTTP, while the same process stores what it accepted.
pub async fn accepted() -> f64 {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let rate = wrk(&embedded.url(&serve).await).await;
    serve.terminate().await;
    rate
}

/// From the first row of a backlog in the queue to its last.
pub async fn stored() -> f64 {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let webhooks = embedded.json(&["webhook", "list"]).await;
    serve.terminate().await;
    let webhook_id = webhooks[0]["id"].as_str().expect("an id").parse().expect("an id");
    let queue = SqliteQueue::open(&DataDir::at(embedded.path()), 0).expect("a queue");
    publish_backlog(&queue, webhook_id).await;
    drop(queue);
    let serve = embedded.serve(&[]).await;
    let stored = async || serve.metric("trailpad_worker_stored_total").await;
    let first = wait_until("the first rows", DEADLINE, stored, |stored| *stored > 0.0).await;
    let began = Instant::now();
    let last = wait_until("the last rows", DEADLINE, stored, |stored| *stored >= ROWS as f64).await;
    let rate = (last - first) / began.elapsed().as_secs_f64();
    serve.terminate().await;
    rate
}

/// The same rows into the same table, ready in memory, in large transactions.
pub fn sqlite_alone() -> f64 {
    let directory = tempfile::tempdir().expect("a directory");
    let data = DataDir::at(directory.path());
    data.migrate_store(&data.lock().expect("ours")).expect("migrated");
    let mut connection = open(&directory.path().join("store.db"));
    let other = Uuid::from_u128(7);
    let rows: Vec<(Uuid, String)> = (0..ROWS)
        .map(|at| (ActivityId::received_at(Timestamp::now()).uuid(), format!("call-log-{at}")))
        .collect();
    let began = Instant::now();
    for batch in rows.chunks(ROWS_PER_STATEMENT) {
        let transaction = connection.transaction().expect("begun");
        let now = Timestamp::now().unix_micros();
        for (id, external_id) in batch {
            let sql = r#"INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id,
                external_id, title, description, start_time, end_time, "trigger", event, metadata, received_at, stored_at)
                VALUES (?1, ?1, 0, ?2, ?2, ?2, ?3, ?4, ?5, ?6, NULL, 'Manual Log', 'Call Center Log', NULL, ?6, ?6)"#;
            let values = params![id, other, external_id, TITLE, DESCRIPTION, now];
            let inserted = transaction.prepare_cached(sql).expect("SQL").execute(values);
            assert_eq!(inserted.expect("inserted"), 1);
        }
        transaction.commit().expect("committed");
    }
    ROWS as f64 / began.elapsed().as_secs_f64()
}

fn open(path: &Path) -> Connection {
    let mut connection = Connection::open(path).expect("a file");
    connection.pragma_update(None, "journal_mode", "WAL").expect("set");
    connection.pragma_update(None, "synchronous", "FULL").expect("set");
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    connection
}
