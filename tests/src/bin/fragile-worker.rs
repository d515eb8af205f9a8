//! A worker whose process aborts when it stores an activity titled "ends its worker", like a bug that
//! a payload triggers. `fragile-worker DATABASE_URL AMQP_URL QUEUE`.

#![allow(clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use trailpad_common::failure::Unavailable;
use trailpad_common::id::ActivityId;
use trailpad_common::queue::QueueBackend;
use trailpad_common::runtime::lifecycle::Lifecycle;
use trailpad_common::runtime::trace::Tracer;
use trailpad_common::store::{
    ClaimedRetry, DeadLetter, MemberQuery, NewActivity, Resolution, RetryUsage, Store,
    StoreBackend, StoreError, Stored, WaitingRetry,
};
use trailpad_engines::postgres::PostgresBackend;
use trailpad_engines::rabbitmq::RabbitBackend;
use trailpad_worker::{Settings, Worker, WorkerOptions};

struct Fragile(Arc<dyn Store>);

#[async_trait::async_trait]
impl Store for Fragile {
    async fn resolve(
        &self,
        queries: &[MemberQuery],
    ) -> Result<Vec<Option<Resolution>>, Unavailable> {
        self.0.resolve(queries).await
    }

    async fn insert(
        &self,
        batch: &[NewActivity<'_>],
        may_be_retries: bool,
    ) -> Result<Stored, StoreError> {
        if batch.iter().any(|new| new.activity.title == "ends its worker") {
            std::process::abort();
        }
        self.0.insert(batch, may_be_retries).await
    }

    async fn record_failures(
        &self,
        retries: &[WaitingRetry],
        dead: &[DeadLetter],
    ) -> Result<(), Unavailable> {
        self.0.record_failures(retries, dead).await
    }

    async fn claim_retries(
        &self,
        limit: u32,
        lease: Duration,
    ) -> Result<Vec<ClaimedRetry>, Unavailable> {
        self.0.claim_retries(limit, lease).await
    }

    async fn release_retries(&self, ids: &[ActivityId]) -> Result<(), Unavailable> {
        self.0.release_retries(ids).await
    }

    async fn retry_usage(&self) -> Result<RetryUsage, Unavailable> {
        self.0.retry_usage().await
    }

    async fn begin_trial(&self, id: ActivityId) -> Result<u32, Unavailable> {
        self.0.begin_trial(id).await
    }

    async fn end_trial(&self, id: ActivityId) -> Result<(), Unavailable> {
        self.0.end_trial(id).await
    }

    async fn probe(&self) -> Result<(), Unavailable> {
        self.0.probe().await
    }

    async fn open_dead_letters(&self, count_max: u32) -> Result<u64, Unavailable> {
        self.0.open_dead_letters(count_max).await
    }
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [database_url, amqp_url, queue] = words.as_slice() else {
        eprintln!("usage: fragile-worker DATABASE_URL AMQP_URL QUEUE");
        std::process::exit(2);
    };
    let settings = Settings::default();
    let delays = settings.retry_schedule.delays();
    let queue = RabbitBackend::new(amqp_url, queue)
        .expect("the AMQP URL should be valid")
        .queue("fragile worker", delays)
        .expect("creating the queue should succeed");
    let postgres = PostgresBackend::new(database_url, "fragile worker")
        .expect("the database URL should be valid");
    let store = postgres.store(3).expect("creating the store should succeed");
    let traffic = postgres.administration().expect("creating the administration should succeed");
    let lifecycle = Lifecycle::default();
    let registry = prometheus::Registry::new();
    let options = WorkerOptions {
        settings,
        queue,
        store: Arc::new(Fragile(store)),
        traffic,
        lifecycle: lifecycle.watch(),
        tracer: Tracer::default(),
    };
    Worker::new(options, &registry)
        .expect("registering the metrics should succeed")
        .run()
        .await
        .expect("the worker should only end by aborting");
}
