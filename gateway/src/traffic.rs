//! Per-webhook counters and the log of rejected requests, for the dashboard. Off the request path.

use std::sync::Arc;

use tokio::sync::mpsc;
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::{REJECTED_KEPT, RejectedRequest, TrafficLog, TrafficWriter};

use crate::live_registry::LiveRegistry;
use crate::registry::RegisteredWebhook;
use crate::rejection::Rejection;

/// Rejected requests that wait to be written. Beyond this limit they are counted but not kept.
const REJECTED_WAITING_MAX: usize = 1_024;

/// The log of rejected requests.
pub struct RejectedRequests(mpsc::Sender<RejectedRequest>);

impl RejectedRequests {
    /// Counts a rejected request and keeps the response body. Keeps at most [`REJECTED_KEPT`]
    /// requests per webhook between two flushes of its tally.
    pub fn record(&self, webhook: &RegisteredWebhook, rejection: &Rejection) {
        if webhook.tally.count_rejected() >= REJECTED_KEPT {
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

/// Starts to write counters and rejected requests to `log`, until the writer is finished.
pub fn start(
    registry: Arc<LiveRegistry>,
    log: Arc<dyn TrafficLog>,
) -> (RejectedRequests, TrafficWriter) {
    let (sender, mut receiver) = mpsc::channel(REJECTED_WAITING_MAX);
    let writer = TrafficWriter::start(log, move |unwritten| {
        for webhook in registry.current().webhooks() {
            let counts = webhook.tally.flush();
            if !counts.is_zero() {
                unwritten.count(webhook.webhook_id, counts);
            }
        }
        while let Ok(request) = receiver.try_recv() {
            unwritten.refused.push(request);
        }
    });
    (RejectedRequests(sender), writer)
}
