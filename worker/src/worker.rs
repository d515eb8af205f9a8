//! The worker: begins one session after another until it is told to drain.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};
use trailpad_common::backoff::Backoff;
use trailpad_common::failure::Unavailable;
use trailpad_common::lifecycle::{Health, HealthWatch, LifecycleWatch, Phase};
use trailpad_common::ports::{Queue, Source, Store};
use trailpad_common::trace::Tracer;
use trailpad_common::traffic::TrafficLog;

use crate::lane::{Context, Lane};
use crate::lookout::{LastTaken, Lookout};
use crate::metrics::Metrics;
use crate::session::Session;
use crate::settings::Settings;
use crate::traffic::Tally;
use crate::undertaker::Undertaker;

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
        let undertaker = tokio::spawn(self.undertaker().run());
        let lookout = tokio::spawn(self.lookout().run());
        let traffic = self.context.tally.clone().writer(self.traffic.clone());
        let mut backoff = Backoff::new(SUBSCRIBE_BACKOFF_FIRST, SUBSCRIBE_BACKOFF_MOST);
        let mut is_gentle = true;
        while self.reaches_the_queue().await {
            match self.session(is_gentle).await? {
                Ok(next_is_gentle) => {
                    is_gentle = next_is_gentle;
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
        undertaker.await?;
        lookout.await?;
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
    async fn session(&self, is_gentle: bool) -> Result<Result<bool, Unavailable>, Broken> {
        let settings = &self.context.settings;
        let (prefetch, lane_count) =
            if is_gentle { (1, 1) } else { (settings.prefetch_messages, settings.lanes) };
        let subscription = match self.queue.subscribe(Source::Activities, prefetch).await {
            Ok(subscription) => subscription,
            Err(unavailable) => return Ok(Err(unavailable)),
        };
        info!(is_gentle, prefetch, "taking activities");
        let session = Arc::new(Session::new(
            subscription,
            is_gentle,
            settings.hold_max,
            self.store_health.clone(),
            self.context.lifecycle.clone(),
        ));
        let mut lanes = JoinSet::new();
        for _ in 0..lane_count {
            lanes.spawn(self.lane().run(session.clone()));
        }
        while let Some(ended) = lanes.join_next().await {
            ended?;
        }
        Ok(Ok(session.end().await))
    }

    fn lane(&self) -> Lane {
        Lane { context: self.context.clone(), publisher: self.queue.publisher() }
    }

    fn lookout(&self) -> Lookout {
        Lookout { queue: self.queue.clone(), context: self.context.clone() }
    }

    fn undertaker(&self) -> Undertaker {
        Undertaker {
            queue: self.queue.clone(),
            store: self.context.store.clone(),
            metrics: self.context.metrics.clone(),
            lifecycle: self.context.lifecycle.clone(),
            tally: self.context.tally.clone(),
        }
    }
}
