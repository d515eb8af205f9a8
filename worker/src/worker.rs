//! The worker: begins one session after another until it is told to drain.

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
use crate::queue_monitor::{LastTaken, QueueMonitor};
use crate::session::Session;
use crate::settings::Settings;
use crate::traffic::Tally;

const SUBSCRIBE_BACKOFF_FIRST: Duration = Duration::from_millis(200);
const SUBSCRIBE_BACKOFF_MOST: Duration = Duration::from_secs(5);

/// The worker role.
pub struct Worker {
    queue: Arc<dyn Queue>,
    context: Context,
    traffic: Arc<dyn TrafficLog>,
    store_health: watch::Sender<Health>,
}

/// A part of the worker panicked, which is a bug; its messages come again.
#[derive(Debug, thiserror::Error)]
#[error("a part of the worker ended unexpectedly: {0}")]
pub struct Broken(#[from] JoinError);

impl Worker {
    /// A worker on a queue and a store.
    ///
    /// # Errors
    /// The registry has these metrics already.
    pub fn new(
        settings: Settings,
        queue: Arc<dyn Queue>,
        store: Arc<dyn Store>,
        traffic: Arc<dyn TrafficLog>,
        registry: &Registry,
        lifecycle: LifecycleWatch,
        tracer: Tracer,
    ) -> prometheus::Result<Self> {
        let metrics = Metrics::register(registry)?;
        let consume_health = queue.consume_health();
        let settings = Arc::new(settings);
        let last_taken = LastTaken::default();
        let tally = Tally::default();
        let context = Context {
            store,
            settings,
            metrics,
            lifecycle,
            consume_health,
            last_taken,
            tracer,
            tally,
        };
        Ok(Self { queue, context, traffic, store_health: watch::Sender::new(Health::Up) })
    }

    /// What the worker needs to be ready.
    pub fn health(&self) -> Vec<(&'static str, HealthWatch)> {
        vec![
            ("queue", self.context.consume_health.clone()),
            ("queue (publishing)", self.queue.publish_health()),
            ("store", self.store_health.subscribe()),
        ]
    }

    /// Works until the lifecycle drains and what was in hand is settled.
    ///
    /// # Errors
    /// A part of it panicked.
    pub async fn run(self) -> Result<(), Broken> {
        let archiver = tokio::spawn(self.archiver().run());
        let monitor = tokio::spawn(self.monitor().run());
        let traffic = self.context.tally.clone().writer(self.traffic.clone());
        let mut backoff = Backoff::new(SUBSCRIBE_BACKOFF_FIRST, SUBSCRIBE_BACKOFF_MOST);
        let mut is_isolated = true;
        while self.reaches_the_queue().await {
            match self.session(is_isolated).await? {
                Ok(next_is_gentle) => {
                    is_isolated = next_is_gentle;
                    backoff.reset();
                }
                Err(why) => {
                    warn!(reason = %why, "can't take activities; trying again");
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

    /// Waits for the link to the queue; false: the worker drains.
    async fn reaches_the_queue(&self) -> bool {
        let mut link = self.context.consume_health.clone();
        tokio::select! {
            biased;
            () = self.context.lifecycle.reached(Phase::Draining) => false,
            up = link.wait_for(|health| *health == Health::Up) => up.is_ok(),
        }
    }

    /// One session from its subscription to its last settled message; tells whether the next has to
    /// be gentle.
    async fn session(&self, is_isolated: bool) -> Result<Result<bool, Unavailable>, Broken> {
        let settings = &self.context.settings;
        let (prefetch, concurrency) =
            if is_isolated { (1, 1) } else { (settings.prefetch_messages, settings.concurrency) };
        let subscription = match self.queue.subscribe(Source::Activities, prefetch).await {
            Ok(subscription) => subscription,
            Err(unavailable) => return Ok(Err(unavailable)),
        };
        info!(is_isolated, prefetch, "taking activities");
        let session = Arc::new(Session::new(
            subscription,
            is_isolated,
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
        BatchProcessor { context: self.context.clone(), publisher: self.queue.publisher() }
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
            tally: self.context.tally.clone(),
        }
    }
}
