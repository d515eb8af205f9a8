//! Group commit: requests that wait at the same time share one message.
//!
//! A slot publishes one message at a time and waits for its confirm. A free slot publishes all
//! waiting activities at once. At low load, a message holds one activity and nothing is delayed.
//! At high load, activities accumulate while all slots are busy, so messages grow. No timer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tracing::{debug, warn};
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::queue::envelope::{Batch, Envelope};
use trailpad_common::queue::{Destination, MessageKind, PublishError, Publisher};
use trailpad_common::runtime::trace::TraceContext;
use trailpad_common::timestamp::Timestamp;

use crate::admission::Permit;
use crate::metrics::Metrics;
use crate::ticket::{Outcome, Ticket};

/// An activity to be published.
pub struct Submission {
    pub id: ActivityId,
    pub webhook_id: WebhookId,
    pub received_at: Timestamp,
    pub traceparent: Option<TraceContext>,
    /// The sender's JSON, validated.
    pub activity: Bytes,
    #[expect(
        dead_code,
        reason = "limits the requests in flight until the activity is in a message"
    )]
    pub permit: Permit,
}

/// Submits activities to the slots. Cheap to clone.
#[derive(Clone)]
pub struct GroupCommit {
    waiting: mpsc::Sender<Waiting>,
    publish_timeout: Duration,
}

#[derive(Clone, Copy, Debug)]
pub struct GroupCommitLimits {
    /// The largest message, unless a single activity is larger.
    pub batch_bytes_max: usize,
    pub waiting_max: usize,
    pub publish_timeout: Duration,
}

struct Waiting {
    submission: Submission,
    ticket: TicketHolder,
}

/// The slot's side of a ticket. Dropping it without an outcome abandons the ticket.
struct TicketHolder(Arc<Ticket>);

impl Drop for TicketHolder {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Activities that wait for a free slot.
struct Intake {
    waiting: mpsc::Receiver<Waiting>,
    /// Received from the channel, but too large for the previous message.
    held: Option<Waiting>,
    batch_bytes_max: usize,
}

impl GroupCommit {
    /// Starts one slot per publisher. The slots end after every handle is dropped and all waiting
    /// activities are published.
    pub fn start(
        publishers: Vec<Box<dyn Publisher>>,
        limits: GroupCommitLimits,
        metrics: &Metrics,
    ) -> Self {
        let GroupCommitLimits { batch_bytes_max, waiting_max, publish_timeout } = limits;
        let (sender, waiting) = mpsc::channel(waiting_max);
        let intake = Arc::new(Mutex::new(Intake { waiting, held: None, batch_bytes_max }));
        for publisher in publishers {
            let slot = Slot { intake: intake.clone(), publisher, metrics: metrics.clone() };
            tokio::spawn(slot.run());
        }
        Self { waiting: sender, publish_timeout }
    }

    /// Submits an activity and waits for its outcome, at most the publish timeout.
    pub async fn submit(&self, submission: Submission) -> Outcome {
        let ticket = Arc::new(Ticket::default());
        let waiting = Waiting { submission, ticket: TicketHolder(ticket.clone()) };
        if self.waiting.try_send(waiting).is_err() {
            return Outcome::NotAccepted;
        }
        match tokio::time::timeout(self.publish_timeout, &*ticket).await {
            Ok(outcome) => outcome,
            Err(_) => ticket.withdraw(),
        }
    }
}

impl Intake {
    /// Waits for an activity, then takes all waiting activities up to the size of a message.
    /// Returns `None` when no more will come.
    async fn gather(&mut self) -> Option<Vec<Waiting>> {
        let first = match self.held.take() {
            Some(held) => held,
            None => self.waiting.recv().await?,
        };
        let mut bytes = first.submission.message_bytes();
        let mut gathered = vec![first];
        while let Ok(next) = self.waiting.try_recv() {
            bytes += next.submission.message_bytes();
            if bytes > self.batch_bytes_max {
                self.held = Some(next);
                break;
            }
            gathered.push(next);
        }
        Some(gathered)
    }
}

impl Submission {
    fn message_bytes(&self) -> usize {
        self.activity.len() + Envelope::OVERHEAD_BYTES
    }

    fn envelope(&self) -> Option<Envelope<'_>> {
        Some(Envelope {
            id: self.id,
            webhook_id: self.webhook_id,
            received_at: self.received_at,
            attempt: 1,
            traceparent: self.traceparent,
            activity: std::str::from_utf8(&self.activity).ok()?,
        })
    }
}

/// One publisher, with at most one unconfirmed message.
struct Slot {
    intake: Arc<Mutex<Intake>>,
    publisher: Box<dyn Publisher>,
    metrics: Metrics,
}

impl Slot {
    async fn run(mut self) {
        loop {
            // Only free slots wait for this lock, and a free slot has nothing else to do.
            let gathered = self.intake.lock().await.gather().await;
            let Some(gathered) = gathered else { return };
            self.publish(gathered).await;
        }
    }

    async fn publish(&mut self, gathered: Vec<Waiting>) {
        let (message, tickets) = compose(gathered);
        if tickets.is_empty() {
            return;
        }
        self.metrics.batch_activities.observe(tickets.len() as f64);
        let published_at = Instant::now();
        let published = self
            .publisher
            .publish(Destination::Activities, MessageKind::Activities, &message)
            .await;
        let outcome = match published {
            Ok(()) => {
                self.metrics.confirm_seconds.observe(published_at.elapsed().as_secs_f64());
                Outcome::Accepted
            }
            Err(error) => {
                log(&error, tickets.len());
                outcome_of(&error)
            }
        };
        for ticket in tickets {
            ticket.0.settle(outcome);
        }
    }
}

/// Composes a message of the activities that were not withdrawn meanwhile.
fn compose(gathered: Vec<Waiting>) -> (Vec<u8>, Vec<TicketHolder>) {
    let bytes: usize = gathered.iter().map(|waiting| waiting.submission.message_bytes()).sum();
    let mut batch = Batch::with_capacity(bytes);
    let mut tickets = Vec::with_capacity(gathered.len());
    for Waiting { submission, ticket } in gathered {
        if let Some(envelope) = submission.envelope()
            && ticket.0.take()
        {
            batch.push(&envelope);
            tickets.push(ticket);
        }
    }
    (batch.finish(), tickets)
}

/// A message that was not accepted is logged at debug level only: the queue's health reports an
/// outage once.
fn log(error: &PublishError, activities: usize) {
    match error {
        PublishError::NotAccepted(_) => {
            debug!(activities, %error, "the queue did not accept a message")
        }
        _ => warn!(activities, %error, "the queue did not confirm a message"),
    }
}

fn outcome_of(error: &PublishError) -> Outcome {
    match error {
        PublishError::NotAccepted(_) => Outcome::NotAccepted,
        // A nack guarantees nothing: the broker may have failed half-way.
        PublishError::Refused(_) | PublishError::Unknown(_) => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests;
