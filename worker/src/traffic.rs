//! What is counted for each webhook, for people to see: noted once for a batch, and written each
//! second, best effort.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tracing::debug;
use trailpad_common::id::WebhookId;
use trailpad_common::instant::Instant;
use trailpad_common::traffic::{Counts, TrafficLog};

const WRITE_EVERY: Duration = Duration::from_secs(1);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The counts that are not written yet.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<HashMap<WebhookId, Counts>>>);

impl Tally {
    /// Counts activities that are rows.
    pub fn stored(&self, webhooks: impl Iterator<Item = WebhookId>) {
        self.add(webhooks.map(|id| (id, Counts { stored: 1, ..Counts::default() })));
    }

    /// Counts dead letters.
    pub fn dead(&self, webhooks: impl Iterator<Item = WebhookId>) {
        self.add(webhooks.map(|id| (id, Counts { dead: 1, ..Counts::default() })));
    }

    fn add(&self, counts: impl Iterator<Item = (WebhookId, Counts)>) {
        let mut sums = self.lock();
        for (id, counts) in counts {
            *sums.entry(id).or_default() += counts;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WebhookId, Counts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes each second.
    pub async fn write_for_ever(self, log: Arc<dyn TrafficLog>) {
        let mut ticks = tokio::time::interval(WRITE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.write(&*log).await;
        }
    }

    /// Writes what was counted; what can't be written is written later.
    pub async fn write(&self, log: &dyn TrafficLog) {
        let counts: Vec<_> = take(&mut *self.lock()).into_iter().collect();
        if counts.is_empty() {
            return;
        }
        let recording = log.record(Instant::now(), &counts, &[]);
        if !matches!(tokio::time::timeout(WRITE_TIMEOUT, recording).await, Ok(Ok(()))) {
            debug!("the traffic can't be written; it is counted on");
            self.add(counts.into_iter());
        }
    }
}
