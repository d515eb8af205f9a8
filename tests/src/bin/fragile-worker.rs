//! A worker whose process ends when it stores an activity titled "ends its worker": what a bug
//! that a payload triggers looks like. `fragile-worker DATABASE_URL AMQP_URL QUEUE`.

#![allow(clippy::expect_used)]

use std::sync::Arc;

use trailpad_common::runtime::lifecycle::Lifecycle;
use trailpad_common::runtime::trace::Tracer;
use trailpad_common::store::{
    DeadLetter, Inserted, MemberQuery, NewActivity, Resolution, Store, StoreError,
};
use trailpad_engines::postgres::{Config, PostgresAdmin, PostgresStore};
use trailpad_engines::rabbitmq::RabbitQueue;
use trailpad_worker::{Settings, Worker};

struct Fragile(PostgresStore);

#[async_trait::async_trait]
impl Store for Fragile {
    async fn resolve(
        &self,
        queries: &[MemberQuery],
    ) -> Result<Vec<Option<Resolution>>, StoreError> {
        self.0.resolve(queries).await
    }

    async fn insert(&self, batch: &[NewActivity<'_>]) -> Result<Inserted, StoreError> {
        if batch.iter().any(|new| new.activity.title == "ends its worker") {
            std::process::abort();
        }
        self.0.insert(batch).await
    }

    async fn archive_dead_letters(&self, dead: &[DeadLetter]) -> Result<(), StoreError> {
        self.0.archive_dead_letters(dead).await
    }

    async fn open_dead_letters(&self, count_max: u32) -> Result<u64, StoreError> {
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
    let queue = RabbitQueue::new(amqp_url, queue, "fragile worker", delays).expect("an AMQP URL");
    let config = Config::parse(database_url, "fragile worker").expect("a database URL");
    let store = Arc::new(Fragile(PostgresStore::new(&config, 3)));
    let (lifecycle, registry) = (Lifecycle::default(), prometheus::Registry::new());
    let worker = Worker::new(
        settings,
        Arc::new(queue),
        store,
        Arc::new(PostgresAdmin::new(&config)),
        &registry,
        lifecycle.watch(),
        Tracer::default(),
    );
    worker.expect("a fresh registry").run().await.expect("it only ends by aborting");
}
