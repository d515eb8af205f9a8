//! What is counted for each webhook, for people to see: noted once for a batch.

use std::collections::HashMap;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trailpad_common::id::WebhookId;
use trailpad_common::traffic::{Counts, TrafficLog, TrafficWriter};

/// What was counted since it was last taken.
#[derive(Clone, Default)]
pub struct Tally(Arc<Mutex<HashMap<WebhookId, Counts>>>);

impl Tally {
    /// Counts activities that are rows.
    pub fn stored(&self, webhooks: impl Iterator<Item = WebhookId>) {
        self.add(webhooks, Counts { stored: 1, ..Counts::default() });
    }

    /// Counts dead letters.
    pub fn dead(&self, webhooks: impl Iterator<Item = WebhookId>) {
        self.add(webhooks, Counts { dead: 1, ..Counts::default() });
    }

    fn add(&self, webhooks: impl Iterator<Item = WebhookId>, one: Counts) {
        let mut sums = self.lock();
        webhooks.for_each(|id| *sums.entry(id).or_default() += one);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WebhookId, Counts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is counted, until the writer is finished.
    pub fn writer(self, log: Arc<dyn TrafficLog>) -> TrafficWriter {
        TrafficWriter::start(log, move |unwritten| {
            let sums = take(&mut *self.lock());
            sums.into_iter().for_each(|(id, counts)| unwritten.count(id, counts));
        })
    }
}
