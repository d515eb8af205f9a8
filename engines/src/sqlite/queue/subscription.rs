//! Consuming: takes what is due, up to the prefetch, and waits for more.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot, watch};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Delivery, Settle, Source, Subscription};
use trailpad_common::timestamp::Timestamp;

use super::messages::{Message, Settlement, Taken};
use super::writer::{THREAD_ENDED, Writer};

/// Another process may have put a message into the file, which tells nobody here.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct SqliteSubscription {
    writer: Writer,
    number: i64,
    source: Source,
    prefetch: usize,
    in_hand: Arc<InHand>,
    published: watch::Receiver<()>,
    /// Taken and not given out yet.
    come: VecDeque<Message>,
    /// A take that was asked for; kept, so that one that is not awaited to its end loses nothing.
    taking: Option<oneshot::Receiver<Result<Taken, Unavailable>>>,
    cancelled: bool,
}

/// How many messages are taken and unsettled.
#[derive(Default)]
struct InHand {
    count: AtomicUsize,
    settled: Notify,
}

impl InHand {
    async fn fall_below(&self, count: usize) {
        loop {
            // Made before the look, so that nothing between the two is missed.
            let settled = self.settled.notified();
            if self.count.load(Ordering::Acquire) < count {
                return;
            }
            settled.await;
        }
    }
}

impl SqliteSubscription {
    pub fn new(writer: Writer, number: i64, source: Source, prefetch: u16) -> Self {
        let published = writer.published();
        Self {
            writer,
            number,
            source,
            prefetch: usize::from(prefetch.max(1)),
            in_hand: Arc::default(),
            published,
            come: VecDeque::new(),
            taking: None,
            cancelled: false,
        }
    }

    /// Takes what is due; waits for a change where nothing is.
    async fn take(&mut self) -> Result<(), Unavailable> {
        self.published.mark_unchanged();
        let (source, number) = (self.source, self.number);
        let count = self.prefetch - self.in_hand.count.load(Ordering::Acquire);
        let writer = &self.writer;
        let taking = self.taking.get_or_insert_with(|| writer.take(source, number, count));
        let answer = taking.await;
        self.taking = None;
        let taken = answer.unwrap_or_else(|_| Err(Unavailable(THREAD_ENDED.into())))?;
        self.in_hand.count.fetch_add(taken.messages.len(), Ordering::AcqRel);
        let is_empty = taken.messages.is_empty();
        self.come.extend(taken.messages);
        if is_empty && !self.cancelled {
            self.wait(taken.next_due).await;
        }
        Ok(())
    }

    async fn wait(&mut self, next_due: Option<Timestamp>) {
        let due_in = next_due.map(|due| {
            let micros = due.unix_micros().saturating_sub(Timestamp::now().unix_micros());
            Duration::from_micros(u64::try_from(micros).unwrap_or(0))
        });
        tokio::select! {
            _ = self.published.changed() => {}
            () = tokio::time::sleep(due_in.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)) => {}
        }
    }

    fn delivery(&self, message: Message) -> Delivery {
        let settle = SqliteSettle {
            writer: self.writer.clone(),
            id: message.id,
            in_hand: self.in_hand.clone(),
        };
        let mut delivery = Delivery::new(message.kind, message.body, Box::new(settle));
        delivery.redeliveries = message.redeliveries;
        delivery
    }
}

#[async_trait]
impl Subscription for SqliteSubscription {
    async fn next(&mut self) -> Result<Option<Delivery>, Unavailable> {
        loop {
            if let Some(message) = self.come.pop_front() {
                return Ok(Some(self.delivery(message)));
            }
            if self.cancelled && self.taking.is_none() {
                return Ok(None);
            }
            self.in_hand.fall_below(self.prefetch).await;
            self.take().await?;
        }
    }

    fn next_ready(&mut self) -> Option<Delivery> {
        let message = self.come.pop_front()?;
        Some(self.delivery(message))
    }

    async fn cancel(&mut self) {
        self.cancelled = true;
    }
}

impl Drop for SqliteSubscription {
    fn drop(&mut self) {
        self.writer.settle(Settlement::RequeueAll(self.number));
    }
}

struct SqliteSettle {
    writer: Writer,
    id: i64,
    in_hand: Arc<InHand>,
}

impl SqliteSettle {
    async fn settle(&self, settlement: Settlement) {
        // No answer: it could not be written now, and the writer tries again.
        let _ = self.writer.settle(settlement).await;
        self.in_hand.count.fetch_sub(1, Ordering::AcqRel);
        self.in_hand.settled.notify_waiters();
    }
}

#[async_trait]
impl Settle for SqliteSettle {
    async fn ack(&self) {
        self.settle(Settlement::Ack(self.id)).await;
    }

    async fn requeue(&self) {
        self.settle(Settlement::Requeue(self.id)).await;
    }
}
