//! Per-webhook counters for the dashboard, updated once per batch.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trailpad_common::id::WebhookId;
use trailpad_common::traffic::{Counts, TrafficLog, TrafficWriter};

/// Counters since the last flush.
#[derive(Clone, Default)]
pub struct TrafficCounters(Arc<Mutex<HashMap<WebhookId, Counts>>>);

impl TrafficCounters {
    /// Counts one stored activity per webhook id.
    pub fn add_stored(&self, webhooks: impl Iterator<Item = WebhookId>) {
        self.add(webhooks, Counts { stored: 1, ..Counts::default() });
    }

    /// Counts one dead letter per webhook id.
    pub fn add_dead(&self, webhooks: impl Iterator<Item = WebhookId>) {
        self.add(webhooks, Counts { dead: 1, ..Counts::default() });
    }

    fn add(&self, webhooks: impl Iterator<Item = WebhookId>, one: Counts) {
        let mut sums = self.lock();
        webhooks.for_each(|id| *sums.entry(id).or_default() += one);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WebhookId, Counts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the writer that flushes the counters until it is finished.
    pub fn writer(self, log: Arc<dyn TrafficLog>) -> TrafficWriter {
        TrafficWriter::start(log, move |unwritten| {
            let sums = take(&mut *self.lock());
            sums.into_iter().for_each(|(id, counts)| unwritten.count(id, counts));
        })
    }
}
