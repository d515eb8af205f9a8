//! What people do about dead letters, a page at a time.
//!
//! A replay publishes, awaits the confirm, then marks. An end in between, even by `kill -9`, loses
//! nothing, and what is then published again is stored once: an activity keeps its id.

use crate::admin::{Action, AdminError, DeadLetterAdmin, DeadLetterFilter, Page, StoredDeadLetter};
use crate::id::ActivityId;
use crate::queue::envelope::{Batch, Envelope};
use crate::queue::{Destination, MessageKind, PublishError, Publisher};
use crate::runtime::trace::TraceContext;
use crate::timestamp::Timestamp;

/// A message of replayed activities is closed once it has so many bytes.
const MESSAGE_BYTES: usize = 512 * 1_024;

/// Why a replay ended early; what was replayed before is replayed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// The queue did not confirm.
    #[error("{0}; nothing is lost: try again")]
    Publish(#[from] PublishError),
    /// The store could not be read or marked.
    #[error("{0}")]
    Admin(#[from] AdminError),
}

/// What became of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageOutcome {
    /// Replayed, or discarded.
    pub done: u64,
    /// Not replayed: bytes that no worker could read.
    pub unreadable: u64,
    /// Where the next page begins; none: this was the last.
    pub next: Option<(Timestamp, ActivityId)>,
}

/// Replays the open dead letters of one page, at most `limit`.
///
/// # Errors
/// The queue did not confirm, or the store is away.
pub async fn replay_page(
    admin: &dyn DeadLetterAdmin,
    publisher: &mut dyn Publisher,
    filter: &DeadLetterFilter,
    after: Option<(Timestamp, ActivityId)>,
    limit: u32,
    by: &str,
) -> Result<PageOutcome, ReplayError> {
    let page = Page { after, limit, with_payload: true };
    let letters = admin.dead_letters(filter, page).await?;
    let next = next(&letters, limit);
    let mut repaired = PageOutcome { next, ..PageOutcome::default() };
    let mut message = Message::default();
    for letter in &letters {
        match envelope(letter) {
            Some(envelope) => message.push(&envelope),
            None => repaired.unreadable += 1,
        }
        if message.bytes >= MESSAGE_BYTES {
            repaired.done += std::mem::take(&mut message).send(admin, publisher, by).await?;
        }
    }
    repaired.done += message.send(admin, publisher, by).await?;
    Ok(repaired)
}

/// Discards the dead letters of one page, at most `limit`.
///
/// # Errors
/// The store is away.
pub async fn discard_page(
    admin: &dyn DeadLetterAdmin,
    filter: &DeadLetterFilter,
    after: Option<(Timestamp, ActivityId)>,
    limit: u32,
    by: &str,
) -> Result<PageOutcome, AdminError> {
    let page = Page { after, limit, with_payload: false };
    let letters = admin.dead_letters(filter, page).await?;
    let ids: Vec<ActivityId> = letters.iter().map(|letter| letter.id).collect();
    admin.mark_dead_letters(&ids, Action::Discard, by).await?;
    Ok(PageOutcome { done: ids.len() as u64, unreadable: 0, next: next(&letters, limit) })
}

/// Where the next page begins, if this one is full.
fn next(letters: &[StoredDeadLetter], limit: u32) -> Option<(Timestamp, ActivityId)> {
    let last = letters.last().filter(|_| letters.len() == limit as usize);
    last.map(|last| (last.dead_at, last.id))
}

/// The activity as it was accepted, with all its attempts before it; none: it is unreadable.
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

    /// Publishes and marks; gives how many.
    async fn send(
        self,
        admin: &dyn DeadLetterAdmin,
        publisher: &mut dyn Publisher,
        by: &str,
    ) -> Result<u64, ReplayError> {
        let Some(batch) = self.batch else { return Ok(0) };
        // Taken before, so that a death after it is known to be a new one.
        let published_at = Timestamp::now();
        let body = batch.finish();
        publisher.publish(Destination::Activities, MessageKind::Activities, &body).await?;
        admin.mark_dead_letters(&self.ids, Action::Replay { published_at }, by).await?;
        Ok(self.ids.len() as u64)
    }
}
