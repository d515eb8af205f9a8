//! Group commit: the requests that are waiting share one message.
//!
//! A slot publishes one message at a time and waits for its confirm. A free slot publishes at
//! once whatever waits, so at low load a message is one activity and nothing is delayed; while all
//! slots are busy the activities gather, so at high load messages grow by themselves. No timer.

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
    /// The sender's JSON, checked.
    pub activity: Bytes,
    /// Its place among the requests in flight, held until the activity is in a message.
    pub _permit: Permit,
}

/// Where handlers hand in activities. Cheap to clone.
#[derive(Clone)]
pub struct GroupCommit {
    waiting: mpsc::Sender<Waiting>,
    timeout: Duration,
}

struct Waiting {
    submission: Submission,
    ticket: TicketHolder,
}

/// The slot's side of a ticket: settles it even if the slot ends without a word.
struct TicketHolder(Arc<Ticket>);

impl Drop for TicketHolder {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// What gathers until a slot is free.
struct Intake {
    waiting: mpsc::Receiver<Waiting>,
    /// Taken from the channel, and too large for the message it came after.
    held: Option<Waiting>,
    batch_bytes_max: usize,
}

impl GroupCommit {
    /// Starts one task for each publisher. They end when every handle is dropped and what waits
    /// is published.
    pub fn start(
        publishers: Vec<Box<dyn Publisher>>,
        batch_bytes_max: usize,
        waiting_max: usize,
        timeout: Duration,
        metrics: &Metrics,
    ) -> Self {
        let (sender, waiting) = mpsc::channel(waiting_max);
        let intake = Arc::new(Mutex::new(Intake { waiting, held: None, batch_bytes_max }));
        for publisher in publishers {
            let slot = Slot { intake: intake.clone(), publisher, metrics: metrics.clone() };
            tokio::spawn(slot.run());
        }
        Self { waiting: sender, timeout }
    }

    /// Hands in an activity and waits for what becomes of it, at most the publish timeout.
    pub async fn submit(&self, submission: Submission) -> Outcome {
        let ticket = Arc::new(Ticket::default());
        let waiting = Waiting { submission, ticket: TicketHolder(ticket.clone()) };
        if self.waiting.try_send(waiting).is_err() {
            return Outcome::NotAccepted;
        }
        match tokio::time::timeout(self.timeout, &*ticket).await {
            Ok(outcome) => outcome,
            Err(_) => ticket.withdraw(),
        }
    }
}

impl Intake {
    /// Waits for an activity, then takes all that wait, up to the size of a message; none: there
    /// will be no more.
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
            // Only a free slot holds the lock, so whoever waits for it has nothing better to do.
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
        let handed_over = Instant::now();
        let published = self
            .publisher
            .publish(Destination::Activities, MessageKind::Activities, &message)
            .await;
        let outcome = match published {
            Ok(()) => {
                self.metrics.confirm_seconds.observe(handed_over.elapsed().as_secs_f64());
                Outcome::Accepted
            }
            Err(error) => {
                report(&error, tickets.len());
                outcome_of(&error)
            }
        };
        for ticket in tickets {
            ticket.0.settle(outcome);
        }
    }
}

/// Writes the message of what was not withdrawn meanwhile.
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

/// What never reached the queue is told by its health, once, and not by each message.
fn report(error: &PublishError, activities: usize) {
    match error {
        PublishError::NotAccepted(_) => debug!(activities, %error, "a message was not accepted"),
        _ => warn!(activities, %error, "a message was not confirmed"),
    }
}

fn outcome_of(error: &PublishError) -> Outcome {
    match error {
        PublishError::NotAccepted(_) => Outcome::NotAccepted,
        // A nack is a promise of nothing: the broker may have failed half-way.
        PublishError::Refused(_) | PublishError::Unknown(_) => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests;
