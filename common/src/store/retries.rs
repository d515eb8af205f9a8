//! Activities that failed and wait in the store for a further attempt.

use std::collections::HashMap;
use std::time::Duration;

use crate::email::Email;
use crate::failure::Reason;
use crate::id::{ActivityId, WebhookId};
use crate::queue::envelope::Envelope;
use crate::runtime::trace::TraceContext;
use crate::timestamp::Timestamp;

/// A row of `retries`, before it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingRetry {
    pub id: ActivityId,
    pub webhook_id: WebhookId,
    /// The member it waits for, if it names one.
    pub member_email: Option<Email>,
    pub reason: Reason,
    /// For people; never quotes the payload.
    pub error: String,
    /// The number of the next attempt.
    pub attempt: u32,
    /// From now, by the clock of the store.
    pub delay: Duration,
    pub received_at: Timestamp,
    pub traceparent: Option<TraceContext>,
    /// The sender's JSON.
    pub activity: String,
}

/// A row of `retries` that a worker has claimed.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedRetry {
    pub id: ActivityId,
    pub webhook_id: WebhookId,
    pub attempt: u32,
    pub received_at: Timestamp,
    pub traceparent: Option<TraceContext>,
    pub activity: String,
    /// Earlier claims that were neither settled nor released.
    pub lost_claims: u32,
}

impl ClaimedRetry {
    pub fn envelope(&self) -> Envelope<'_> {
        Envelope {
            id: self.id,
            webhook_id: self.webhook_id,
            received_at: self.received_at,
            attempt: self.attempt,
            traceparent: self.traceparent,
            activity: &self.activity,
        }
    }
}

/// Bytes and number of the waiting retries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetryUsage {
    pub bytes: u64,
    pub count: u64,
    pub bytes_by_webhook: HashMap<WebhookId, u64>,
}

impl RetryUsage {
    /// `true` if one more retry of the webhook keeps within the bound. One webhook may use a quarter
    /// of it, so that a flood of failures leaves room for the others.
    pub fn has_room(&self, webhook: WebhookId, bytes: u64, bytes_max: u64) -> bool {
        let of_webhook = self.bytes_by_webhook.get(&webhook).copied().unwrap_or(0);
        self.bytes.saturating_add(bytes) <= bytes_max
            && of_webhook.saturating_add(bytes) <= bytes_max / 4
    }

    /// Counts a retry that was written since the usage was read.
    pub fn add(&mut self, webhook: WebhookId, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.count += 1;
        let of_webhook = self.bytes_by_webhook.entry(webhook).or_default();
        *of_webhook = of_webhook.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_webhook_gets_a_quarter_of_the_room_and_all_together_the_whole() {
        let one = WebhookId::generate();
        let mut usage = RetryUsage::default();
        assert!(usage.has_room(one, 25, 100));
        usage.add(one, 25);
        assert!(!usage.has_room(one, 1, 100));
        for _ in 0..3 {
            let other = WebhookId::generate();
            assert!(usage.has_room(other, 25, 100));
            usage.add(other, 25);
        }
        assert!(!usage.has_room(WebhookId::generate(), 1, 100));
        assert_eq!((usage.bytes, usage.count), (100, 4));
    }
}
