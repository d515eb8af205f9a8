//! The webhook registry that requests read. A task refreshes it from the webhook feed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::token::PresentedToken;
use trailpad_common::webhook::{RegistryChanges, WebhookFeed};

use crate::metrics::Metrics;
use crate::registry::{TokenStatus, WebhookRegistry};
use crate::settings::RateLimit;

/// A new webhook works, and a revoked webhook stops, within about this time.
const REFRESH_EVERY: Duration = Duration::from_millis(250);
/// A request with an unknown token waits at most this long for the next refresh.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);

/// The current registry and its age. Reads take no lock.
pub struct LiveRegistry {
    current: ArcSwap<WebhookRegistry>,
    started_at: Instant,
    /// Start of the last successful refresh, in milliseconds after `started_at`, plus one. 0 before
    /// the first.
    fresh_at_millis: AtomicU64,
    refreshes_begun: AtomicU64,
    last_refresh: watch::Sender<Refresh>,
    health: watch::Sender<Health>,
    staleness_max: Duration,
    rate_limit: Option<RateLimit>,
    metrics: Metrics,
}

/// A finished refresh.
#[derive(Clone, Copy, Default)]
struct Refresh {
    /// Counted from 1; 0 before the first refresh.
    number: u64,
    succeeded: bool,
}

impl LiveRegistry {
    /// Starts to refresh the registry from `feed`, until the registry is dropped.
    pub fn start(
        feed: Box<dyn WebhookFeed>,
        staleness_max: Duration,
        rate_limit: Option<RateLimit>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let registry = Arc::new(Self {
            current: ArcSwap::default(),
            started_at: Instant::now(),
            fresh_at_millis: AtomicU64::new(0),
            refreshes_begun: AtomicU64::new(0),
            last_refresh: watch::Sender::default(),
            health: watch::Sender::new(loading()),
            staleness_max,
            rate_limit,
            metrics,
        });
        tokio::spawn(refresh_periodically(Arc::downgrade(&registry), feed));
        registry
    }

    /// Up while the registry was refreshed recently enough to authenticate known tokens.
    pub fn health(&self) -> HealthWatch {
        self.health.subscribe()
    }

    pub fn current(&self) -> Arc<WebhookRegistry> {
        self.current.load_full()
    }

    pub fn token_status(&self, token: &PresentedToken, now: Timestamp) -> TokenStatus {
        self.current.load().token_status(token, now)
    }

    /// Returns `true` if the last successful refresh is too old, or if none has succeeded yet.
    pub fn is_stale(&self) -> bool {
        self.age().is_none_or(|age| age > self.staleness_max)
    }

    /// Waits for a refresh that begins after this call. Returns `false` if it fails or times out.
    pub async fn wait_for_refresh(&self) -> bool {
        let next = self.refreshes_begun.load(Ordering::Acquire) + 1;
        let mut last_refresh = self.last_refresh.subscribe();
        let finished = last_refresh
            .wait_for(|last| last.number >= next || (last.number > 0 && !last.succeeded));
        matches!(
            tokio::time::timeout(REFRESH_TIMEOUT, finished).await,
            Ok(Ok(last)) if last.succeeded
        )
    }

    /// Time since the last successful refresh; `None` before the first.
    fn age(&self) -> Option<Duration> {
        let fresh_at = self.fresh_at_millis.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.started_at.elapsed().saturating_sub(Duration::from_millis(fresh_at)))
    }

    async fn refresh(&self, feed: &mut dyn WebhookFeed) {
        let number = self.refreshes_begun.fetch_add(1, Ordering::AcqRel) + 1;
        let began_at = self.started_at.elapsed();
        let registry = self.current.load_full();
        let changes = feed.changes_since(registry.revision()).await;
        let succeeded = changes.is_ok();
        match changes {
            Ok(changes) => {
                self.apply(&registry, changes);
                let millis = u64::try_from(began_at.as_millis()).unwrap_or(u64::MAX - 1);
                self.fresh_at_millis.store(millis + 1, Ordering::Release);
            }
            // Only the first of consecutive failures is logged.
            Err(unavailable) if self.last_refresh.borrow().succeeded || number == 1 => {
                warn!(reason = %unavailable, "webhook registry refresh failed; known tokens still work");
            }
            Err(_) => {}
        }
        self.report();
        self.last_refresh.send_replace(Refresh { number, succeeded });
    }

    fn apply(&self, registry: &WebhookRegistry, changes: RegistryChanges) {
        if changes.webhooks.is_empty() && changes.revision == registry.revision() {
            return;
        }
        let changed = changes.webhooks.len();
        let registry = registry.with(changes, self.rate_limit);
        info!(changed, webhooks = registry.len(), "webhook registry refreshed");
        self.metrics.registry_webhooks.set(registry.len().cast_signed() as i64);
        self.current.store(Arc::new(registry));
    }

    fn report(&self) {
        let age = self.age();
        if let Some(age) = age {
            self.metrics.registry_age_seconds.set(age.as_secs_f64());
        }
        let health = match age {
            None => loading(),
            Some(age) if age > self.staleness_max => {
                Health::Down("the last successful refresh is too old".into())
            }
            Some(_) => Health::Up,
        };
        self.health
            .send_if_modified(|current| std::mem::replace(current, health.clone()) != health);
    }
}

fn loading() -> Health {
    Health::Down("loading the webhooks".into())
}

async fn refresh_periodically(registry: Weak<LiveRegistry>, mut feed: Box<dyn WebhookFeed>) {
    let mut ticks = tokio::time::interval(REFRESH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(registry) = registry.upgrade() else { return };
        registry.refresh(&mut *feed).await;
    }
}
