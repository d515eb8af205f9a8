//! The authenticator: keeps the directory fresh, and judges tokens by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use crate::registry::{RegisteredWebhook, TokenStatus, WebhookRegistry};
use crate::rejection::{NotAccepted, Rejection};
use crate::settings::RateLimit;

/// A new webhook works, and a revoked one stops, within about this long.
const REFRESH_EVERY: Duration = Duration::from_millis(250);
/// How long an unknown token waits for the next refresh before it can't be judged.
const JUDGE_TIMEOUT: Duration = Duration::from_secs(3);

/// Judges tokens. Reads take no lock.
pub struct Authenticator {
    directory: ArcSwap<WebhookRegistry>,
    started_at: Instant,
    /// When the last good refresh began, in milliseconds after `started_at`, plus one; 0: never.
    fresh_at_millis: AtomicU64,
    /// How many refreshes have begun.
    begun: AtomicU64,
    refreshed: watch::Sender<Refreshed>,
    health: watch::Sender<Health>,
    staleness_max: Duration,
    rate_limit: Option<RateLimit>,
    metrics: Metrics,
}

/// The last refresh that ended.
#[derive(Clone, Copy, Default)]
struct Refreshed {
    /// Which one, counted from 1.
    number: u64,
    succeeded: bool,
}

impl Authenticator {
    /// Starts to refresh the directory from `source`, until the authenticator is dropped.
    pub fn start(
        source: Box<dyn WebhookFeed>,
        staleness_max: Duration,
        rate_limit: Option<RateLimit>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let authenticator = Arc::new(Self {
            directory: ArcSwap::default(),
            started_at: Instant::now(),
            fresh_at_millis: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            refreshed: watch::Sender::default(),
            health: watch::Sender::new(Health::Down("loading the webhooks".into())),
            staleness_max,
            rate_limit,
            metrics,
        });
        tokio::spawn(refresh_for_ever(Arc::downgrade(&authenticator), source));
        authenticator
    }

    /// Up while known tokens can be judged.
    pub fn health(&self) -> HealthWatch {
        self.health.subscribe()
    }

    /// The directory as it is now.
    pub fn directory(&self) -> Arc<WebhookRegistry> {
        self.directory.load_full()
    }

    /// The webhook of a token.
    ///
    /// A token that is not known is judged after the next refresh, so that a new webhook works at
    /// its first post; there is no look-up for it and nothing that an attacker could fill.
    pub async fn admit(&self, token: &str) -> Result<Arc<RegisteredWebhook>, Rejection> {
        let token = PresentedToken::parse(token).map_err(|_| Rejection::InvalidToken)?;
        if let Some(judged) = self.judge(&token)? {
            return Ok(judged);
        }
        if !self.wait_for_refresh().await {
            return Err(NotAccepted::RegistryStale.into());
        }
        self.judge(&token)?.ok_or(Rejection::InvalidToken)
    }

    fn judge(&self, token: &PresentedToken) -> Result<Option<Arc<RegisteredWebhook>>, Rejection> {
        if self.age().is_none_or(|age| age > self.staleness_max) {
            return Err(NotAccepted::RegistryStale.into());
        }
        match self.directory.load().judge(token, Timestamp::now()) {
            TokenStatus::Valid(entry) => Ok(Some(entry)),
            TokenStatus::Revoked => Err(Rejection::WebhookRevoked),
            TokenStatus::Unknown => Ok(None),
        }
    }

    /// Waits for a refresh that begins after now; false: it failed, or takes too long.
    async fn wait_for_refresh(&self) -> bool {
        let next = self.begun.load(Ordering::Acquire) + 1;
        let mut refreshed = self.refreshed.subscribe();
        let ended =
            refreshed.wait_for(|last| last.number >= next || (last.number > 0 && !last.succeeded));
        matches!(tokio::time::timeout(JUDGE_TIMEOUT, ended).await, Ok(Ok(last)) if last.succeeded)
    }

    /// Since the last good refresh; none: there was none yet.
    fn age(&self) -> Option<Duration> {
        let fresh_at = self.fresh_at_millis.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.started_at.elapsed().saturating_sub(Duration::from_millis(fresh_at)))
    }

    async fn refresh(&self, source: &mut dyn WebhookFeed) {
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let began_at = self.started_at.elapsed();
        let directory = self.directory.load_full();
        let changes = source.changes_since(directory.revision()).await;
        let succeeded = changes.is_ok();
        match changes {
            Ok(changes) => {
                self.apply(&directory, changes);
                let millis = u64::try_from(began_at.as_millis()).unwrap_or(u64::MAX - 1);
                self.fresh_at_millis.store(millis + 1, Ordering::Release);
            }
            Err(unavailable) if self.refreshed.borrow().succeeded || number == 1 => {
                warn!(reason = %unavailable, "the webhooks can't be refreshed; known tokens are still served");
            }
            Err(_) => {}
        }
        self.report();
        self.refreshed.send_replace(Refreshed { number, succeeded });
    }

    fn apply(&self, directory: &WebhookRegistry, changes: RegistryChanges) {
        if changes.webhooks.is_empty() && changes.revision == directory.revision() {
            return;
        }
        let changed = changes.webhooks.len();
        let directory = directory.with(changes, self.rate_limit);
        info!(changed, webhooks = directory.len(), "webhooks refreshed");
        self.metrics.registry_webhooks.set(directory.len().cast_signed() as i64);
        self.directory.store(Arc::new(directory));
    }

    fn report(&self) {
        let age = self.age();
        if let Some(age) = age {
            self.metrics.registry_age_seconds.set(age.as_secs_f64());
        }
        let health = match age {
            None => Health::Down("loading the webhooks".into()),
            Some(age) if age > self.staleness_max => {
                Health::Down("the webhooks were last refreshed too long ago".into())
            }
            Some(_) => Health::Up,
        };
        self.health
            .send_if_modified(|current| std::mem::replace(current, health.clone()) != health);
    }
}

async fn refresh_for_ever(
    authenticator: std::sync::Weak<Authenticator>,
    mut source: Box<dyn WebhookFeed>,
) {
    let mut ticks = tokio::time::interval(REFRESH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(authenticator) = authenticator.upgrade() else { return };
        authenticator.refresh(&mut *source).await;
    }
}
