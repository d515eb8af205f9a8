//! Replaying and discarding dead letters, page by page.
//!
//! A replay publishes, waits for the confirm, then marks. If the process ends in between, even by
//! `kill -9`, nothing is lost: the next replay publishes the activity again, and it is stored once
//! because it keeps its id.

use super::{
    Action, AdminError, Cursor, DeadLetterAdmin, DeadLetterFilter, Page, StoredDeadLetter,
};
use crate::id::ActivityId;
use crate::queue::envelope::{Batch, Envelope};
use crate::queue::{Destination, MessageKind, PublishError, Publisher};
use crate::runtime::trace::TraceContext;
use crate::timestamp::Timestamp;

/// A message of replayed activities is complete once it has this size.
const MESSAGE_BYTES: usize = 512 * 1_024;

/// A replay ended early. Messages that were confirmed and marked before stay replayed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    #[error("{0}; nothing is lost: try again")]
    Publish(#[from] PublishError),
    #[error("{0}")]
    Admin(#[from] AdminError),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageOutcome {
    /// Number of replayed or discarded dead letters.
    pub done: u64,
    /// Not replayed, because no worker can read their bytes.
    pub unreadable: u64,
    /// Position of the next page; `None` after the last page.
    pub next: Option<Cursor>,
}

/// Replays one page of the dead letters that `filter` selects, at most `limit`.
///
/// # Errors
/// The queue did not confirm, or the store is unavailable.
pub async fn replay_page(
    admin: &dyn DeadLetterAdmin,
    publisher: &mut dyn Publisher,
    filter: &DeadLetterFilter,
    after: Option<Cursor>,
    limit: u32,
    by: &str,
) -> Result<PageOutcome, ReplayError> {
    let page = Page { after, limit, with_payload: true };
    let letters = admin.dead_letters(filter, page).await?;
    let next = next(&letters, limit);
    let mut outcome = PageOutcome { next, ..PageOutcome::default() };
    let mut message = Message::default();
    for letter in &letters {
        match envelope(letter) {
            Some(envelope) => message.push(&envelope),
            None => outcome.unreadable += 1,
        }
        if message.bytes >= MESSAGE_BYTES {
            outcome.done += std::mem::take(&mut message).send(admin, publisher, by).await?;
        }
    }
    outcome.done += message.send(admin, publisher, by).await?;
    Ok(outcome)
}

/// Discards one page of the dead letters that `filter` selects, at most `limit`.
///
/// # Errors
/// The store is unavailable.
pub async fn discard_page(
    admin: &dyn DeadLetterAdmin,
    filter: &DeadLetterFilter,
    after: Option<Cursor>,
    limit: u32,
    by: &str,
) -> Result<PageOutcome, AdminError> {
    let page = Page { after, limit, with_payload: false };
    let letters = admin.dead_letters(filter, page).await?;
    let ids: Vec<ActivityId> = letters.iter().map(|letter| letter.id).collect();
    admin.mark_dead_letters(&ids, Action::Discard, by).await?;
    Ok(PageOutcome { done: ids.len() as u64, unreadable: 0, next: next(&letters, limit) })
}

/// Position of the next page; `None` if this page is not full.
fn next(letters: &[StoredDeadLetter], limit: u32) -> Option<Cursor> {
    let last = letters.last().filter(|_| letters.len() == limit as usize);
    last.map(|last| Cursor { at: last.dead_at, id: last.id })
}

/// The activity as it was accepted, at its first attempt; `None` if it is unreadable.
fn envelope(letter: &StoredDeadLetter) -> Option<Envelope<'_>> {
    Some(Envelope {
        id: letter.id,
        webhook_id: letter.webhook_id?,
        received_at: letter.received_at?,
        attempt: 1,
        traceparent: letter.traceparent.as_deref().and_then(TraceContext::parse),
        activity: std::str::from_utf8(letter.payload.as_deref()?).ok()?,
    })
}

#[derive(Default)]
struct Message {
    batch: Option<Batch>,
    ids: Vec<ActivityId>,
    bytes: usize,
}

impl Message {
    fn push(&mut self, envelope: &Envelope<'_>) {
        self.batch.get_or_insert_with(|| Batch::with_capacity(MESSAGE_BYTES)).push(envelope);
        self.ids.push(envelope.id);
        self.bytes += envelope.activity.len() + Envelope::OVERHEAD_BYTES;
    }

    /// Publishes and marks. Returns the number of activities.
    async fn send(
        self,
        admin: &dyn DeadLetterAdmin,
        publisher: &mut dyn Publisher,
        by: &str,
    ) -> Result<u64, ReplayError> {
        let Some(batch) = self.batch else { return Ok(0) };
        // Taken before publishing: a dead letter written after this time is a new failure.
        let published_at = Timestamp::now();
        let body = batch.finish();
        publisher.publish(Destination::Activities, MessageKind::Activities, &body).await?;
        admin.mark_dead_letters(&self.ids, Action::Replay { published_at }, by).await?;
        Ok(self.ids.len() as u64)
    }
}
