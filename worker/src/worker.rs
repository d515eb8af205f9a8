//! The worker: runs one session after another until it drains.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Queue, Source};
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{Health, HealthWatch, LifecycleWatch, Phase};
use trailpad_common::runtime::trace::Tracer;
use trailpad_common::store::Store;
use trailpad_common::traffic::TrafficLog;

use crate::batch_processor::{BatchProcessor, Context};
use crate::dead_letter_archiver::DeadLetterArchiver;
use crate::metrics::Metrics;
use crate::mode::Mode;
use crate::queue_monitor::{LastTaken, QueueMonitor};
use crate::session::Session;
use crate::settings::Settings;
use crate::traffic::TrafficCounters;

const SUBSCRIBE_BACKOFF_FIRST: Duration = Duration::from_millis(200);
const SUBSCRIBE_BACKOFF_MOST: Duration = Duration::from_secs(5);

pub struct Worker {
    queue: Arc<dyn Queue>,
    context: Context,
    traffic: Arc<dyn TrafficLog>,
    store_health: watch::Sender<Health>,
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
        let context = Context {
            store,
            settings: Arc::new(settings),
            metrics: Metrics::register(registry)?,
            lifecycle,
            consume_health: queue.consume_health(),
            last_taken: LastTaken::default(),
            tracer,
            traffic_counters: TrafficCounters::default(),
        };
        Ok(Self { queue, context, traffic, store_health: watch::Sender::new(Health::Up) })
    }

    /// The connections that must be up for the worker to be ready, by name.
    pub fn health(&self) -> Vec<(&'static str, HealthWatch)> {
        vec![
            ("queue", self.context.consume_health.clone()),
            ("queue (publishing)", self.queue.publish_health()),
            ("store", self.store_health.subscribe()),
        ]
    }

    /// Runs until the lifecycle drains and every message that was taken is settled.
    ///
    /// # Errors
    /// A task of the worker panicked.
    pub async fn run(self) -> Result<(), Broken> {
        let archiver = tokio::spawn(self.archiver().run());
        let monitor = tokio::spawn(self.monitor().run());
        let traffic = self.context.traffic_counters.clone().writer(self.traffic.clone());
        let mut backoff = Backoff::new(SUBSCRIBE_BACKOFF_FIRST, SUBSCRIBE_BACKOFF_MOST);
        let mut mode = Mode::Isolated;
        while self.wait_for_queue().await {
            match self.run_session(mode).await? {
                Ok(next_mode) => {
                    mode = next_mode;
                    backoff.reset();
                }
                Err(why) => {
                    warn!(reason = %why, "cannot subscribe to the queue; retrying");
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next_wait()) => {}
                        () = self.context.lifecycle.reached(Phase::Draining) => {}
                    }
                }
            }
        }
        archiver.await?;
        monitor.await?;
        traffic.finish().await;
        Ok(())
    }

    /// Waits for the connection to the queue. Returns `false` if the worker drains.
    async fn wait_for_queue(&self) -> bool {
        let mut health = self.context.consume_health.clone();
        tokio::select! {
            biased;
            () = self.context.lifecycle.reached(Phase::Draining) => false,
            up = health.wait_for(|health| *health == Health::Up) => up.is_ok(),
        }
    }

    /// Runs one session, from its subscription to its last settled message. Returns the mode of
    /// the next session.
    async fn run_session(&self, mode: Mode) -> Result<Result<Mode, Unavailable>, Broken> {
        let settings = &self.context.settings;
        let (prefetch, concurrency) = match mode {
            Mode::Full => (settings.prefetch_messages, settings.concurrency),
            Mode::Isolated => (1, 1),
        };
        let subscription = match self.queue.subscribe(Source::Activities, prefetch).await {
            Ok(subscription) => subscription,
            Err(unavailable) => return Ok(Err(unavailable)),
        };
        info!(is_isolated = mode.is_isolated(), prefetch, "session started");
        let session = Arc::new(Session::new(
            subscription,
            mode,
            settings.hold_max,
            self.store_health.clone(),
            self.context.lifecycle.clone(),
        ));
        let mut processors = JoinSet::new();
        for _ in 0..concurrency {
            processors.spawn(self.batch_processor().run(session.clone()));
        }
        while let Some(ended) = processors.join_next().await {
            ended?;
        }
        Ok(Ok(session.end().await))
    }

    fn batch_processor(&self) -> BatchProcessor {
        BatchProcessor { context: self.context.clone(), publisher: self.queue.republisher() }
    }

    fn monitor(&self) -> QueueMonitor {
        QueueMonitor { queue: self.queue.clone(), context: self.context.clone() }
    }

    fn archiver(&self) -> DeadLetterArchiver {
        DeadLetterArchiver {
            queue: self.queue.clone(),
            store: self.context.store.clone(),
            metrics: self.context.metrics.clone(),
            lifecycle: self.context.lifecycle.clone(),
            traffic_counters: self.context.traffic_counters.clone(),
        }
    }
}
