//! Traffic: what gateways and workers count for each webhook, and the requests that were refused,
//! so that an integrator can see what arrived. Best effort, and off every hot path: a promise is
//! kept by the queue and the store, never by these numbers.

mod writer;

use std::ops::AddAssign;
use std::time::Duration;

use async_trait::async_trait;

pub use self::writer::{TrafficWriter, Unwritten};
use crate::failure::Unavailable;
use crate::id::WebhookId;
use crate::timestamp::Timestamp;

/// Counts are kept for each span of this length.
pub const SPAN: Duration = Duration::from_secs(10 * 60);
/// And forgotten once their span began this long ago, while a gateway or a worker runs.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Refused requests that are kept of one webhook, the latest.
pub const REJECTED_KEPT: u32 = 50;

/// What happened to the activities of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered 202.
    pub accepted: u32,
    /// Answered otherwise, by a gateway that knew the webhook.
    pub refused: u32,
    /// Rows, new or replaced or there already.
    pub stored: u32,
    /// Dead letters.
    pub dead: u32,
}

impl Counts {
    /// Whether nothing happened.
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

/// A request that was refused: what the sender was told. That quotes no value of what it sent, but
/// the pointers of faults quote its field names.
#[derive(Clone, Debug, PartialEq)]
pub struct RejectedRequest {
    /// Its webhook.
    pub webhook_id: WebhookId,
    /// When, by the gateway's clock.
    pub at: Timestamp,
    /// The answer: problem details (RFC 9457) as JSON.
    pub problem: String,
}

/// The beginning of the span that an instant is in.
pub fn span_of(at: Timestamp) -> Timestamp {
    let span = i64::try_from(SPAN.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(at.unix_micros().div_euclid(span) * span)
}

/// Where traffic is written down.
#[async_trait]
pub trait TrafficLog: Send + Sync {
    /// Adds counts to the span of `at`, and keeps refused requests: of each webhook those that were
    /// written last, [`REJECTED_KEPT`] of them.
    async fn record(
        &self,
        at: Timestamp,
        counts: &[(WebhookId, Counts)],
        refused: &[RejectedRequest],
    ) -> Result<(), Unavailable>;

    /// Forgets the counts of spans that began before an instant, of every webhook.
    async fn forget(&self, before: Timestamp) -> Result<(), Unavailable>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_begins_every_ten_minutes() {
        let span = |text: &str| span_of(Timestamp::parse(text).expect(text).timestamp).to_string();
        assert_eq!(span("2024-08-03T11:39:59.999999Z"), "2024-08-03T11:30:00.000000Z");
        assert_eq!(span("2024-08-03T11:40:00Z"), "2024-08-03T11:40:00.000000Z");
        assert_eq!(span("1969-12-31T23:59:59Z"), "1969-12-31T23:50:00.000000Z");
    }
}
