//! Traffic: per-webhook counters and the log of rejected requests, for integrators.
//!
//! Best effort, and off every hot path. No guarantee depends on these numbers: the queue and the
//! store hold the activities.

mod writer;

use std::ops::AddAssign;
use std::time::Duration;

use async_trait::async_trait;

pub use self::writer::{TrafficWriter, Unwritten};
use crate::failure::Unavailable;
use crate::id::WebhookId;
use crate::timestamp::Timestamp;

/// Length of the time spans in which activities are counted.
pub const SPAN: Duration = Duration::from_secs(10 * 60);
/// Age at which the counts of a span are deleted, measured from the span's start. Gateways and
/// workers delete them while they run.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Number of rejected requests that are kept for each webhook: the latest.
pub const REJECTED_KEPT: u32 = 50;

/// Counters of the activities of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered 202.
    pub accepted: u32,
    /// Rejected by a gateway that knew the webhook.
    pub refused: u32,
    /// With a row: new, replaced or existing.
    pub stored: u32,
    /// Dead-lettered.
    pub dead: u32,
}

impl Counts {
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.accepted = self.accepted.saturating_add(other.accepted);
        self.refused = self.refused.saturating_add(other.refused);
        self.stored = self.stored.saturating_add(other.stored);
        self.dead = self.dead.saturating_add(other.dead);
    }
}

/// A rejected request. Contains only the response: it quotes no value that the sender sent, but the
/// pointers of faults quote field names.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedRequest {
    pub webhook_id: WebhookId,
    /// By the gateway's clock.
    pub at: Timestamp,
    /// The response's problem details (RFC 9457) as JSON.
    pub problem: String,
}

/// The start of the span that contains `at`.
pub fn span_of(at: Timestamp) -> Timestamp {
    let span = i64::try_from(SPAN.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(at.unix_micros().div_euclid(span) * span)
}

/// Stores traffic.
#[async_trait]
pub trait TrafficLog: Send + Sync {
    /// Adds counts to the span of `at` and stores rejected requests. Keeps the last [`REJECTED_KEPT`]
    /// of them for each webhook.
    async fn record(
        &self,
        at: Timestamp,
        counts: &[(WebhookId, Counts)],
        refused: &[RejectedRequest],
    ) -> Result<(), Unavailable>;

    /// Deletes the counts of all spans that started before `before`.
    async fn forget(&self, before: Timestamp) -> Result<(), Unavailable>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_starts_every_ten_minutes() {
        let span = |text: &str| span_of(Timestamp::parse(text).expect(text).timestamp).to_string();
        assert_eq!(span("2024-08-03T11:39:59.999999Z"), "2024-08-03T11:30:00.000000Z");
        assert_eq!(span("2024-08-03T11:40:00Z"), "2024-08-03T11:40:00.000000Z");
        assert_eq!(span("1969-12-31T23:59:59Z"), "1969-12-31T23:50:00.000000Z");
    }
}
