//! Activities stored by one worker from a backlog, compared with the database only.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::queue::envelope::{Batch, Envelope};
use trailpad_common::queue::{Destination, MessageKind, Queue, QueueBackend};
use trailpad_common::runtime::lifecycle::Health;
use trailpad_common::timestamp::Timestamp;
use trailpad_engines::rabbitmq::RabbitBackend;
use trailpad_tests::postgres::connect;
use trailpad_tests::{Sandbox, Webhook, wait_until};
use uuid::Uuid;

pub const ROWS: usize = 200_000;
/// The number that a gateway puts into a message under load.
const ACTIVITIES_PER_MESSAGE: usize = 85;
pub const ROWS_PER_STATEMENT: usize = 2_000;
const CONNECTIONS: usize = 2;
pub const DEADLINE: Duration = Duration::from_secs(120);
pub const TITLE: &str = "Customer Inquiry Handled";
pub const DESCRIPTION: &str = "Handled customer inquiry from Jane Doe regarding billing.";

/// Activities stored per second, from the first row of a backlog to the last.
pub async fn by_a_worker(sandbox: &Sandbox, webhook: &Webhook) -> f64 {
    sandbox.execute("TRUNCATE activities; CHECKPOINT").await;
    let backend = RabbitBackend::new(&sandbox.amqp_url, &sandbox.queue)
        .expect("the AMQP URL should be valid");
    let queue = backend.queue("bench", &[]).expect("creating the queue should succeed");
    queue
        .publish_health()
        .wait_for(|health| *health == Health::Up)
        .await
        .expect("RabbitMQ should become available");
    let webhook_id = webhook.id.parse().expect("the webhook id should be valid");
    publish_backlog(&*queue, webhook_id).await;
    let worker = sandbox.worker(&[]).await;
    let stored = async || worker.metric("trailpad_worker_stored_total").await;
    let first = wait_until("the first rows", DEADLINE, stored, |stored| *stored > 0.0).await;
    let began = Instant::now();
    let last = wait_until("the last rows", DEADLINE, stored, |stored| *stored >= ROWS as f64).await;
    let rate = (last - first) / began.elapsed().as_secs_f64();
    worker.terminate().await;
    rate
}

/// Publishes all rows, in messages like those of a gateway.
pub async fn publish_backlog(queue: &dyn Queue, webhook_id: WebhookId) {
    let mut publisher = queue.publisher();
    for first in (0..ROWS).step_by(ACTIVITIES_PER_MESSAGE) {
        let mut batch = Batch::with_capacity(64 * 1_024);
        for at in first..ROWS.min(first + ACTIVITIES_PER_MESSAGE) {
            let received_at = Timestamp::now();
            let activity = format!(
                r#"{{"title":"{TITLE}","description":"{DESCRIPTION}","startTime":"2024-08-03T11:30:00Z","trigger":"Manual Log","event":"Call Center Log","externalId":"call-log-{at}"}}"#
            );
            let id = ActivityId::received_at(received_at);
            batch.push(&Envelope {
                id,
                webhook_id,
                received_at,
                attempt: 1,
                traceparent: None,
                activity: &activity,
            });
        }
        let message = batch.finish();
        publisher
            .publish(Destination::Activities, MessageKind::Activities, &message)
            .await
            .expect("the publish should be confirmed");
    }
}

/// Rows inserted per second: the same rows, prepared in memory, into the same table, in large
/// statements on two connections.
pub async fn database_only(sandbox: &Sandbox) -> f64 {
    sandbox.execute("TRUNCATE activities; CHECKPOINT").await;
    let statements: Vec<Columns> = (0..ROWS)
        .step_by(ROWS_PER_STATEMENT)
        .map(|first| Columns::of(first..first + ROWS_PER_STATEMENT))
        .collect();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = connect(&sandbox.database_url).await;
        clients.push(client.expect("connecting to PostgreSQL should succeed"));
    }
    let began = Instant::now();
    let work = clients.iter().enumerate().map(|(nth, client)| {
        let share = statements.iter().skip(nth).step_by(CONNECTIONS);
        async move {
            for columns in share {
                columns.insert(client).await;
            }
        }
    });
    futures_util::future::join_all(work).await;
    let rate = ROWS as f64 / began.elapsed().as_secs_f64();
    assert_eq!(sandbox.number("SELECT count(*) FROM activities").await, ROWS as i64);
    rate
}

struct Columns {
    ids: Vec<Uuid>,
    others: Vec<Uuid>,
    flags: Vec<bool>,
    external_ids: Vec<String>,
    titles: Vec<&'static str>,
    descriptions: Vec<&'static str>,
    triggers: Vec<&'static str>,
    events: Vec<&'static str>,
    times: Vec<DateTime<Utc>>,
    absent_times: Vec<Option<DateTime<Utc>>>,
    absent_texts: Vec<Option<String>>,
}

impl Columns {
    fn of(rows: std::ops::Range<usize>) -> Self {
        let count = rows.len();
        let now = Timestamp::now();
        Self {
            ids: rows.clone().map(|_| ActivityId::received_at(Timestamp::now()).uuid()).collect(),
            others: vec![Uuid::from_u128(7); count],
            flags: vec![false; count],
            external_ids: rows.map(|at| format!("call-log-{at}")).collect(),
            titles: vec![TITLE; count],
            descriptions: vec![DESCRIPTION; count],
            triggers: vec!["Manual Log"; count],
            events: vec!["Call Center Log"; count],
            times: vec![now.to_datetime(); count],
            absent_times: vec![None; count],
            absent_texts: vec![None; count],
        }
    }

    async fn insert(&self, client: &tokio_postgres::Client) {
        let sql = r#"INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id, external_id,
                            title, description, start_time, end_time, "trigger", event, metadata, received_at)
            SELECT r.id, r.content_id, r.replaces, r.webhook_id, r.project_id, r.member_id, r.external_id, r.title,
                   r.description, r.start_time, r.end_time, r."trigger", r.event, r.metadata::jsonb, r.received_at
            FROM unnest($1::uuid[], $2::uuid[], $3::bool[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[], $8::text[],
                        $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[], $14::text[],
                        $15::timestamptz[])
                 AS r(id, content_id, replaces, webhook_id, project_id, member_id, external_id, title, description,
                      start_time, end_time, "trigger", event, metadata, received_at)"#;
        let parameters: [(&(dyn ToSql + Sync), Type); 15] = [
            (&self.ids, Type::UUID_ARRAY),
            (&self.ids, Type::UUID_ARRAY),
            (&self.flags, Type::BOOL_ARRAY),
            (&self.others, Type::UUID_ARRAY),
            (&self.others, Type::UUID_ARRAY),
            (&self.others, Type::UUID_ARRAY),
            (&self.external_ids, Type::TEXT_ARRAY),
            (&self.titles, Type::TEXT_ARRAY),
            (&self.descriptions, Type::TEXT_ARRAY),
            (&self.times, Type::TIMESTAMPTZ_ARRAY),
            (&self.absent_times, Type::TIMESTAMPTZ_ARRAY),
            (&self.triggers, Type::TEXT_ARRAY),
            (&self.events, Type::TEXT_ARRAY),
            (&self.absent_texts, Type::TEXT_ARRAY),
            (&self.times, Type::TIMESTAMPTZ_ARRAY),
        ];
        client.execute_typed(sql, &parameters).await.expect("inserting should succeed");
    }
}
