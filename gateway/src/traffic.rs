//! What is counted and kept of requests for people to see: never on the way of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::mpsc;
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::{Counts, REJECTED_KEPT, RejectedRequest, TrafficLog, TrafficWriter};

use crate::authenticator::Authenticator;
use crate::registry::RegisteredWebhook;
use crate::rejection::Rejection;

/// Refused requests that wait to be written; what comes past it is counted and not kept.
const REJECTED_WAITING_MAX: usize = 1_024;

/// What was counted of one webhook since it was last taken.
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
}

/// Takes note of refused requests.
pub struct RejectedRequests(mpsc::Sender<RejectedRequest>);

impl RejectedRequests {
    /// Counts one, and keeps what the sender was told unless many more have come since the last
    /// writing.
    pub fn note(&self, webhook: &RegisteredWebhook, rejection: &Rejection) {
        if webhook.tally.refused() >= REJECTED_KEPT {
            return;
        }
        let Ok(permit) = self.0.try_reserve() else { return };
        permit.send(RejectedRequest {
            webhook_id: webhook.webhook_id,
            at: Timestamp::now(),
            problem: String::from_utf8(rejection.body()).unwrap_or_default(),
        });
    }
}

/// Writes what is counted and kept, until the writer is finished.
pub fn start(
    authenticator: Arc<Authenticator>,
    log: Arc<dyn TrafficLog>,
) -> (RejectedRequests, TrafficWriter) {
    let (sender, mut receiver) = mpsc::channel(REJECTED_WAITING_MAX);
    let writer = TrafficWriter::start(log, move |unwritten| {
        for entry in authenticator.directory().entries() {
            let counts = entry.tally.take();
            if !counts.is_zero() {
                unwritten.count(entry.webhook_id, counts);
            }
        }
        while let Ok(request) = receiver.try_recv() {
            unwritten.refused.push(request);
        }
    });
    (RejectedRequests(sender), writer)
}
