//! Consuming: claims due messages up to the prefetch, and waits for further ones.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, oneshot, watch};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Delivery, Settle, Source, Subscription};
use trailpad_common::timestamp::Timestamp;

use super::messages::{Claimed, Message, Settlement};
use super::writer::{THREAD_ENDED, Writer};

/// Interval of the check for messages of other processes, which can't notify this one.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct SqliteSubscription {
    writer: Writer,
    number: i64,
    source: Source,
    prefetch: usize,
    unsettled: Arc<Unsettled>,
    published: watch::Receiver<()>,
    /// Claimed and not delivered yet.
    claimed: VecDeque<Message>,
    /// The pending claim. Kept here, so that its messages are not lost if the caller drops the
    /// future that awaits it.
    claiming: Option<oneshot::Receiver<Result<Claimed, Unavailable>>>,
    cancelled: bool,
}

/// Counts the messages that are claimed and not settled.
#[derive(Default)]
struct Unsettled {
    count: AtomicUsize,
    settled: Notify,
}

impl Unsettled {
    async fn wait_until_below(&self, count: usize) {
        loop {
            // Created before the count is read, so that no notification in between is lost.
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
            unsettled: Arc::default(),
            published,
            claimed: VecDeque::new(),
            claiming: None,
            cancelled: false,
        }
    }

    /// Claims due messages; if none is due, waits until one may be.
    async fn claim(&mut self) -> Result<(), Unavailable> {
        self.published.mark_unchanged();
        let count = self.prefetch.saturating_sub(self.unsettled.count.load(Ordering::Acquire));
        let claiming =
            self.claiming.get_or_insert_with(|| self.writer.claim(self.source, self.number, count));
        let answer = claiming.await;
        self.claiming = None;
        let claimed = answer.unwrap_or_else(|_| Err(Unavailable(THREAD_ENDED.into())))?;
        self.unsettled.count.fetch_add(claimed.messages.len(), Ordering::AcqRel);
        let is_empty = claimed.messages.is_empty();
        self.claimed.extend(claimed.messages);
        if is_empty && !self.cancelled {
            self.wait(claimed.next_due).await;
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
            () = tokio::time::sleep(due_in.unwrap_or(CHECK_INTERVAL).min(CHECK_INTERVAL)) => {}
        }
    }

    fn delivery(&self, message: Message) -> Delivery {
        let settle = SqliteSettle {
            writer: self.writer.clone(),
            id: message.id,
            unsettled: self.unsettled.clone(),
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
            if let Some(message) = self.claimed.pop_front() {
                return Ok(Some(self.delivery(message)));
            }
            if self.cancelled && self.claiming.is_none() {
                return Ok(None);
            }
            self.unsettled.wait_until_below(self.prefetch).await;
            self.claim().await?;
        }
    }

    fn next_ready(&mut self) -> Option<Delivery> {
        let message = self.claimed.pop_front()?;
        Some(self.delivery(message))
    }

    async fn set_prefetch(&mut self, messages: u16) {
        self.prefetch = usize::from(messages.max(1));
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
    unsettled: Arc<Unsettled>,
}

impl SqliteSettle {
    async fn settle(&self, settlement: Settlement) {
        // An error means that the settlement was not written yet; the writer retries it.
        let _ = self.writer.settle(settlement).await;
        self.unsettled.count.fetch_sub(1, Ordering::AcqRel);
        self.unsettled.settled.notify_waiters();
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
