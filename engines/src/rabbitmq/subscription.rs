//! Consuming: deliveries from one queue, and their acknowledgements.
//!
//! The broker fixes the window of a consumer when it starts: with `global=false` a `basic.qos`
//! applies to new consumers only, and quorum queues refuse `global=true`
//! (<https://www.rabbitmq.com/docs/consumer-prefetch>). To change the window, the subscription
//! cancels its consumer, returns the messages that it received, and starts another consumer on the
//! same channel. The messages of the cancelled consumer can still be settled there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::Acker;
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use tokio::sync::Notify;
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Delivery, MessageKind, Settle, Subscription};

use super::death;
use super::error::describe;
use super::link::CALL_TIMEOUT;

pub(super) struct RabbitSubscription {
    /// Kept open as long as deliveries may be settled.
    channel: Channel,
    queue: String,
    consumer: Consumer,
    /// The broker was asked to cancel `consumer`.
    is_consumer_cancelled: bool,
    window: u16,
    /// Returned by this subscription and not settled.
    unsettled: Arc<Unsettled>,
    /// The window of the next consumer, while `consumer` is being replaced.
    next_window: Option<u16>,
    /// `true` once the cancelled consumer has returned every message that it received.
    drained: bool,
    /// The start of the next consumer. Kept here, so that the consumer is not lost if the caller
    /// drops the future that awaits it.
    starting: Option<BoxFuture<'static, Result<Consumer, Unavailable>>>,
    cancelled: bool,
    /// The result that the stream ended with; `None` while it is open.
    end: Option<Result<(), Unavailable>>,
}

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

impl RabbitSubscription {
    pub async fn open(
        connection: &Connection,
        queue: &str,
        window: u16,
    ) -> Result<Self, lapin::Error> {
        let channel = connection.create_channel().await?;
        let consumer = consume(&channel, queue, window).await?;
        Ok(Self {
            channel,
            queue: queue.to_owned(),
            consumer,
            is_consumer_cancelled: false,
            window,
            unsettled: Arc::default(),
            next_window: None,
            drained: false,
            starting: None,
            cancelled: false,
            end: None,
        })
    }

    /// Converts an item of the stream. Any end without [`Subscription::cancel`] counts as a lost
    /// link: RabbitMQ 4.3 cancels a consumer in cases where older versions close its channel.
    fn item(&mut self, item: Option<lapin::Result<AmqpDelivery>>) -> Option<Delivery> {
        match item {
            Some(Ok(delivery)) => return Some(to_delivery(delivery, self.unsettled.clone())),
            Some(Err(error)) => self.end = Some(Err(Unavailable(describe(&error)))),
            None if self.cancelled => self.end = Some(Ok(())),
            None if self.next_window.is_some() => self.drained = true,
            None => self.end = Some(Err(Unavailable("the broker ended the subscription".into()))),
        }
        None
    }

    /// Starts the consumer with the window `window`, once fewer messages than that are unsettled.
    async fn start_next(&mut self, window: u16) {
        if self.starting.is_none() {
            self.unsettled.wait_until_below(usize::from(window.max(1))).await;
        }
        let channel = self.channel.clone();
        let queue = self.queue.clone();
        let starting = self.starting.get_or_insert_with(|| restart(channel, queue, window).boxed());
        let started = starting.await;
        self.starting = None;
        match started {
            Ok(consumer) => {
                self.consumer = consumer;
                self.is_consumer_cancelled = false;
                self.window = window;
                self.drained = false;
                if self.next_window == Some(window) {
                    self.next_window = None;
                }
            }
            Err(why) => self.end = Some(Err(why)),
        }
    }

    async fn cancel_consumer(&mut self) {
        if self.is_consumer_cancelled {
            return;
        }
        let cancel = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        // If the broker does not confirm in time, the stream later ends as a lost link.
        let _ = tokio::time::timeout(CALL_TIMEOUT, cancel).await;
        self.is_consumer_cancelled = true;
    }
}

async fn consume(channel: &Channel, queue: &str, window: u16) -> lapin::Result<Consumer> {
    channel.basic_qos(window, BasicQosOptions::default()).await?;
    let tag = ShortString::from("");
    let options = BasicConsumeOptions::default();
    channel.basic_consume(ShortString::from(queue), tag, options, FieldTable::default()).await
}

async fn restart(channel: Channel, queue: String, window: u16) -> Result<Consumer, Unavailable> {
    match tokio::time::timeout(CALL_TIMEOUT, consume(&channel, &queue, window)).await {
        Ok(started) => started.map_err(|error| Unavailable(describe(&error))),
        Err(_) => Err(Unavailable("the broker did not confirm the consumer in time".into())),
    }
}

#[async_trait]
impl Subscription for RabbitSubscription {
    async fn next(&mut self) -> Result<Option<Delivery>, Unavailable> {
        while self.end.is_none() {
            match self.next_window {
                Some(_) if !self.is_consumer_cancelled => self.cancel_consumer().await,
                Some(_) if self.drained && self.cancelled => self.end = Some(Ok(())),
                Some(window) if self.drained => self.start_next(window).await,
                _ => {
                    let item = self.consumer.next().await;
                    if let Some(delivery) = self.item(item) {
                        return Ok(Some(delivery));
                    }
                }
            }
        }
        self.end.clone().unwrap_or(Ok(())).map(|()| None)
    }

    fn next_ready(&mut self) -> Option<Delivery> {
        if self.end.is_some() || self.drained {
            return None;
        }
        let item = self.consumer.next().now_or_never()?;
        self.item(item)
    }

    async fn set_prefetch(&mut self, messages: u16) {
        let is_unchanged = self.next_window.unwrap_or(self.window) == messages;
        if is_unchanged || self.cancelled || self.end.is_some() {
            return;
        }
        self.next_window = Some(messages);
        self.cancel_consumer().await;
    }

    async fn cancel(&mut self) {
        if std::mem::replace(&mut self.cancelled, true) {
            return;
        }
        if let (Some(window), true) = (self.next_window, self.starting.is_some()) {
            // The broker may have started the consumer already.
            self.start_next(window).await;
        }
        self.cancel_consumer().await;
    }
}

struct RabbitSettle {
    acker: Acker,
    unsettled: Arc<Unsettled>,
}

#[async_trait]
impl Settle for RabbitSettle {
    async fn ack(&self) {
        // An error means that the link is lost; the broker then redelivers the message. If it is
        // lost while the frame waits to be written, the client may never report it.
        let ack = self.acker.ack(BasicAckOptions::default());
        let _ = tokio::time::timeout(CALL_TIMEOUT, ack).await;
    }

    async fn requeue(&self) {
        let nack = self.acker.nack(BasicNackOptions { multiple: false, requeue: true });
        let _ = tokio::time::timeout(CALL_TIMEOUT, nack).await;
    }
}

impl Drop for RabbitSettle {
    fn drop(&mut self) {
        self.unsettled.count.fetch_sub(1, Ordering::AcqRel);
        self.unsettled.settled.notify_waiters();
    }
}

fn to_delivery(amqp: AmqpDelivery, unsettled: Arc<Unsettled>) -> Delivery {
    let kind = amqp.properties.kind().as_ref().map_or("", |kind| kind.as_str());
    let headers = amqp.properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    let redeliveries = count.and_then(as_count).unwrap_or(0);
    let broker_cause = headers.and_then(death::last_cause);
    let kind = MessageKind::from_name(kind);
    unsettled.count.fetch_add(1, Ordering::AcqRel);
    let settle = RabbitSettle { acker: amqp.acker, unsettled };
    let mut delivery = Delivery::new(kind, amqp.data, Box::new(settle));
    delivery.redeliveries = redeliveries;
    delivery.broker_cause = broker_cause;
    delivery
}

/// RabbitMQ chooses the integer type by the size of the value.
fn as_count(value: &AMQPValue) -> Option<u32> {
    match value {
        AMQPValue::ShortShortInt(count) => u32::try_from(*count).ok(),
        AMQPValue::ShortShortUInt(count) => Some(u32::from(*count)),
        AMQPValue::ShortInt(count) => u32::try_from(*count).ok(),
        AMQPValue::ShortUInt(count) => Some(u32::from(*count)),
        AMQPValue::LongInt(count) => u32::try_from(*count).ok(),
        AMQPValue::LongUInt(count) => Some(*count),
        AMQPValue::LongLongInt(count) => u32::try_from(*count).ok(),
        _ => None,
    }
}
