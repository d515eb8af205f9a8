//! `trailpad serve` on files, compared with SQLite only, with the same rows and settings.

use std::path::Path;
use std::time::Instant;

use rusqlite::{Connection, TransactionBehavior, params};
use trailpad_common::id::ActivityId;
use trailpad_common::queue::QueueBackend;
use trailpad_common::store::StoreBackend;
use trailpad_common::timestamp::Timestamp;
use trailpad_engines::sqlite::{DataDir, SqliteBackend};
use trailpad_tests::{Embedded, wait_until};
use uuid::Uuid;

use crate::accepted::wrk;
use crate::stored::{DEADLINE, DESCRIPTION, ROWS, ROWS_PER_STATEMENT, TITLE, publish_backlog};

/// Activities accepted per second over HTTP, while the same process stores them.
pub async fn accepted() -> f64 {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let rate = wrk(&embedded.url(&serve).await).await;
    serve.terminate().await;
    rate
}

/// Activities stored per second, from the first row of a backlog in the queue to the last.
pub async fn stored() -> f64 {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let webhooks = embedded.json(&["webhook", "list"]).await;
    serve.terminate().await;
    let webhook_id = webhooks[0]["id"].as_str().expect("the id should be a string");
    let webhook_id = webhook_id.parse().expect("the id should be valid");
    let queue = SqliteBackend::new(DataDir::at(embedded.path()), 0)
        .queue("bench", &[])
        .expect("opening the queue should succeed");
    publish_backlog(&*queue, webhook_id).await;
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

/// Rows inserted per second: the same rows, prepared in memory, into the same table, in large
/// transactions.
pub async fn sqlite_only() -> f64 {
    let directory = tempfile::tempdir().expect("creating a directory should succeed");
    let store = SqliteBackend::new(DataDir::at(directory.path()), 0);
    StoreBackend::migrate(&store).await.expect("migrating the store should succeed");
    let mut connection = open(&directory.path().join("store.db"));
    let other = Uuid::from_u128(7);
    let rows: Vec<(Uuid, String)> = (0..ROWS)
        .map(|at| (ActivityId::received_at(Timestamp::now()).uuid(), format!("call-log-{at}")))
        .collect();
    let began = Instant::now();
    for batch in rows.chunks(ROWS_PER_STATEMENT) {
        let transaction = connection.transaction().expect("starting a transaction should succeed");
        let now = Timestamp::now().unix_micros();
        for (id, external_id) in batch {
            let sql = r#"INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id,
                external_id, title, description, start_time, end_time, "trigger", event, metadata, received_at, stored_at)
                VALUES (?1, ?1, 0, ?2, ?2, ?2, ?3, ?4, ?5, ?6, NULL, 'Manual Log', 'Call Center Log', NULL, ?6, ?6)"#;
            let values = params![id, other, external_id, TITLE, DESCRIPTION, now];
            let mut statement = transaction.prepare_cached(sql).expect("the SQL should be valid");
            let inserted = statement.execute(values).expect("inserting a row should succeed");
            assert_eq!(inserted, 1);
        }
        transaction.commit().expect("committing should succeed");
    }
    ROWS as f64 / began.elapsed().as_secs_f64()
}

fn open(path: &Path) -> Connection {
    let mut connection = Connection::open(path).expect("opening the database should succeed");
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .expect("setting journal_mode should succeed");
    connection
        .pragma_update(None, "synchronous", "FULL")
        .expect("setting synchronous should succeed");
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    connection
}
