//! The worker: runs one session after another until it drains.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};
use trailpad_common::queue::{Queue, Source, Subscription};
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{Health, HealthWatch, LifecycleWatch, Phase};
use trailpad_common::runtime::trace::Tracer;
use trailpad_common::store::Store;
use trailpad_common::traffic::TrafficLog;

use crate::batch_processor::BatchProcessor;
use crate::dead_letter_archiver::DeadLetterArchiver;
use crate::metrics::Metrics;
use crate::queue_monitor::{LastTaken, QueueMonitor};
use crate::retrier::Retrier;
use crate::retry_room::RetryRoom;
use crate::session::Session;
use crate::settings::Settings;
use crate::store_health::StoreHealth;
use crate::storer::Storer;
use crate::traffic::TrafficCounters;

const SUBSCRIBE_BACKOFF_FIRST: Duration = Duration::from_millis(200);
const SUBSCRIBE_BACKOFF_MOST: Duration = Duration::from_secs(5);

pub struct Worker {
    processor: BatchProcessor,
    traffic: Arc<dyn TrafficLog>,
}

/// The settings of a worker and the engines that it uses.
pub struct WorkerOptions {
    pub settings: Settings,
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub traffic: Arc<dyn TrafficLog>,
    pub lifecycle: LifecycleWatch,
    pub tracer: Tracer,
}

/// A task of the worker panicked, which is a bug. The queue redelivers its messages.
#[derive(Debug, thiserror::Error)]
#[error("a worker task ended unexpectedly: {0}")]
pub struct Broken(#[from] JoinError);

impl Worker {
    /// # Errors
    /// The registry already contains a metric of the worker.
    pub fn new(options: WorkerOptions, registry: &Registry) -> prometheus::Result<Self> {
        let WorkerOptions { settings, queue, store, traffic, lifecycle, tracer } = options;
        let storer = Storer {
            store,
            settings: Arc::new(settings),
            metrics: Metrics::register(registry)?,
            tracer,
            traffic_counters: TrafficCounters::default(),
            retry_room: RetryRoom::default(),
        };
        let processor = BatchProcessor {
            consume_health: queue.consume_health(),
            queue,
            storer,
            store_health: StoreHealth::default(),
            lifecycle,
            last_taken: LastTaken::default(),
            alone: Arc::default(),
        };
        Ok(Self { processor, traffic })
    }

    /// The connections that must be up for the worker to be ready, by name.
    pub fn health(&self) -> Vec<(&'static str, HealthWatch)> {
        vec![
            ("queue", self.processor.consume_health.clone()),
            ("queue (publishing)", self.processor.queue.publish_health()),
            ("store", self.processor.store_health.watch()),
        ]
    }

    /// Runs until the lifecycle drains and every message that was taken is settled.
    ///
    /// # Errors
    /// A task of the worker panicked.
    pub async fn run(self) -> Result<(), Broken> {
        let BatchProcessor { storer, store_health, lifecycle, .. } = &self.processor;
        let probing =
            store_health.clone().monitor(storer.store.clone(), storer.settings.store_backoff_max);
        let probing = tokio::spawn(probing);
        let archiver = tokio::spawn(self.archiver().run());
        let monitor = tokio::spawn(self.monitor().run());
        let retrier = Retrier { processor: Arc::new(self.processor.clone()) };
        let retrier = tokio::spawn(retrier.run());
        let traffic = storer.traffic_counters.clone().writer(self.traffic.clone());
        let mut backoff = Backoff::new(SUBSCRIBE_BACKOFF_FIRST, SUBSCRIBE_BACKOFF_MOST);
        while self.wait_for_queue_and_store().await {
            let subscribed = self
                .processor
                .queue
                .subscribe(Source::Activities, storer.settings.prefetch_messages);
            match subscribed.await {
                Ok(subscription) => {
                    self.run_session(subscription).await?;
                    backoff.reset();
                }
                Err(why) => {
                    warn!(reason = %why, "cannot subscribe to the queue; retrying");
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_wait()) => {}
                        () = lifecycle.reached(Phase::Draining) => {}
                    }
                }
            }
        }
        archiver.await?;
        monitor.await?;
        retrier.await?;
        probing.abort();
        traffic.finish().await;
        Ok(())
    }

    /// Waits until messages can be taken and stored. Returns `false` if the worker drains.
    async fn wait_for_queue_and_store(&self) -> bool {
        let BatchProcessor { consume_health, store_health, lifecycle, .. } = &self.processor;
        let mut consume_health = consume_health.clone();
        let ready = async {
            store_health.is_up().await;
            consume_health.wait_for(|health| *health == Health::Up).await.is_ok()
        };
        tokio::select! {
            biased;
            () = lifecycle.reached(Phase::Draining) => false,
            is_up = ready => is_up,
        }
    }

    /// Runs one session, from its subscription to its last settled message.
    async fn run_session(&self, subscription: Box<dyn Subscription>) -> Result<(), Broken> {
        let settings = &self.processor.storer.settings;
        info!(prefetch = settings.prefetch_messages, "session started");
        let session = Arc::new(Session::new(subscription, self.processor.lifecycle.clone()));
        let mut processors = JoinSet::new();
        for _ in 0..settings.concurrency {
            processors.spawn(self.processor.clone().run(session.clone()));
        }
        while let Some(ended) = processors.join_next().await {
            ended?;
        }
        let suspected = session.take_suspected().await;
        if !suspected.is_empty() {
            self.processor.try_alone(suspected).await;
        }
        Ok(())
    }

    fn monitor(&self) -> QueueMonitor {
        let BatchProcessor { queue, storer, lifecycle, last_taken, .. } = &self.processor;
        QueueMonitor {
            queue: queue.clone(),
            store: storer.store.clone(),
            metrics: storer.metrics.clone(),
            last_taken: last_taken.clone(),
            lifecycle: lifecycle.clone(),
        }
    }

    fn archiver(&self) -> DeadLetterArchiver {
        let BatchProcessor { queue, storer, lifecycle, .. } = &self.processor;
        DeadLetterArchiver {
            queue: queue.clone(),
            store: storer.store.clone(),
            metrics: storer.metrics.clone(),
            lifecycle: lifecycle.clone(),
            traffic_counters: storer.traffic_counters.clone(),
        }
    }
}
