//! What is counted and kept of requests for people to see: each second, best effort, and never on
//! the way of a request.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::debug;
use trailpad_common::id::WebhookId;
use trailpad_common::instant::Instant;
use trailpad_common::traffic::{Counts, REFUSED_KEPT, RefusedRequest, TrafficLog};

use crate::directory::{Directory, Entry};
use crate::doorkeeper::Doorkeeper;
use crate::problem::Refusal;

const WRITE_EVERY: Duration = Duration::from_secs(1);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Refused requests that wait to be written; what comes past it is counted and not kept.
const REFUSED_WAITING_MAX: usize = 1_024;

/// The counts of one webhook that are not written yet.
#[derive(Default)]
pub struct Tally {
    accepted: AtomicU32,
    refused: AtomicU32,
}

impl Tally {
    /// Counts a 202.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    fn refused(&self) -> u32 {
        self.refused.fetch_add(1, Ordering::Relaxed)
    }

    fn take(&self) -> Counts {
        // Most are zero: a load leaves the cache line with whom it belongs to.
        let take = |count: &AtomicU32| match count.load(Ordering::Relaxed) {
            0 => 0,
            _ => count.swap(0, Ordering::Relaxed),
        };
        Counts { accepted: take(&self.accepted), refused: take(&self.refused), ..Counts::default() }
    }

    fn give_back(&self, counts: Counts) {
        self.accepted.fetch_add(counts.accepted, Ordering::Relaxed);
        self.refused.fetch_add(counts.refused, Ordering::Relaxed);
    }
}

/// Takes note of refused requests.
pub struct RefusedRequests(mpsc::Sender<RefusedRequest>);

impl RefusedRequests {
    /// Counts one, and keeps what the sender was told unless many more have come since the last
    /// writing.
    pub fn note(&self, webhook: &Entry, refusal: &Refusal) {
        if webhook.tally.refused() >= REFUSED_KEPT {
            return;
        }
        let Ok(permit) = self.0.try_reserve() else { return };
        permit.send(RefusedRequest {
            webhook_id: webhook.webhook_id,
            at: Instant::now(),
            problem: String::from_utf8(refusal.body()).unwrap_or_default(),
        });
    }
}

/// Writes each second, until the doorkeeper is gone.
pub fn start(doorkeeper: Weak<Doorkeeper>, log: Arc<dyn TrafficLog>) -> RefusedRequests {
    let (sender, receiver) = mpsc::channel(REFUSED_WAITING_MAX);
    tokio::spawn(write_for_ever(doorkeeper, log, receiver));
    RefusedRequests(sender)
}

async fn write_for_ever(
    doorkeeper: Weak<Doorkeeper>,
    log: Arc<dyn TrafficLog>,
    mut receiver: mpsc::Receiver<RefusedRequest>,
) {
    let mut ticks = tokio::time::interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refused = Vec::new();
    loop {
        ticks.tick().await;
        let Some(doorkeeper) = doorkeeper.upgrade() else { return };
        while let Ok(request) = receiver.try_recv() {
            refused.push(request);
        }
        write(&doorkeeper.directory(), &*log, &mut refused).await;
    }
}

/// What can't be written is written later, except for the refused requests, which are dropped.
async fn write(directory: &Directory, log: &dyn TrafficLog, refused: &mut Vec<RefusedRequest>) {
    let counted: Vec<(&Entry, Counts)> = directory
        .entries()
        .map(|entry| (entry, entry.tally.take()))
        .filter(|(_, counts)| !counts.is_zero())
        .collect();
    if counted.is_empty() && refused.is_empty() {
        return;
    }
    let counts: Vec<(WebhookId, Counts)> =
        counted.iter().map(|(entry, counts)| (entry.webhook_id, *counts)).collect();
    let recording = log.record(Instant::now(), &counts, refused);
    let recorded = tokio::time::timeout(WRITE_TIMEOUT, recording).await;
    refused.clear();
    if !matches!(recorded, Ok(Ok(()))) {
        debug!("the traffic can't be written; it is counted on");
        counted.iter().for_each(|(entry, counts)| entry.tally.give_back(*counts));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use trailpad_common::failure::Unavailable;

    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<RefusedRequest>>);

    #[async_trait]
    impl TrafficLog for Kept {
        async fn record(
            &self,
            _at: Instant,
            _counts: &[(WebhookId, Counts)],
            refused: &[RefusedRequest],
        ) -> Result<(), Unavailable> {
            self.0.lock().expect("no panic").extend_from_slice(refused);
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_refused_request_whose_count_was_taken_before_it_is_written_all_the_same() {
        let request = RefusedRequest {
            webhook_id: WebhookId::generate(),
            at: Instant::now(),
            problem: "{}".into(),
        };
        let log = Kept::default();
        write(&Directory::default(), &log, &mut vec![request.clone()]).await;
        assert_eq!(*log.0.lock().expect("no panic"), [request]);
    }
}
