//! Consuming: deliveries from one queue, and their acknowledgements.

use async_trait::async_trait;
use futures_util::{FutureExt, StreamExt};
use lapin::Acker;
use lapin::message::Delivery as AmqpDelivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Delivery, MessageKind, Settle, Subscription};

use super::death;
use super::error::describe;
use super::link::CALL_TIMEOUT;

pub(super) struct RabbitSubscription {
    /// Kept open as long as deliveries may be settled.
    channel: Channel,
    consumer: Consumer,
    cancelled: bool,
    /// The result that the stream ended with; `None` while it is open.
    end: Option<Result<(), Unavailable>>,
}

impl RabbitSubscription {
    pub async fn open(
        connection: &Connection,
        queue: &str,
        prefetch: u16,
    ) -> Result<Self, lapin::Error> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let queue = ShortString::from(queue);
        let tag = ShortString::from("");
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue, tag, options, FieldTable::default()).await?;
        Ok(Self { channel, consumer, cancelled: false, end: None })
    }

    /// Converts an item of the stream. Any end without [`Subscription::cancel`] counts as a lost
    /// link: RabbitMQ 4.3 cancels a consumer in cases where older versions close its channel.
    fn item(&mut self, item: Option<lapin::Result<AmqpDelivery>>) -> Option<Delivery> {
        match item {
            Some(Ok(delivery)) => return Some(to_delivery(delivery)),
            Some(Err(error)) => self.end = Some(Err(Unavailable(describe(&error)))),
            None if self.cancelled => self.end = Some(Ok(())),
            None => self.end = Some(Err(Unavailable("the broker ended the subscription".into()))),
        }
        None
    }
}

#[async_trait]
impl Subscription for RabbitSubscription {
    async fn next(&mut self) -> Result<Option<Delivery>, Unavailable> {
        if self.end.is_none() {
            let item = self.consumer.next().await;
            if let Some(delivery) = self.item(item) {
                return Ok(Some(delivery));
            }
        }
        self.end.clone().unwrap_or(Ok(())).map(|()| None)
    }

    fn next_ready(&mut self) -> Option<Delivery> {
        if self.end.is_some() {
            return None;
        }
        let item = self.consumer.next().now_or_never()?;
        self.item(item)
    }

    async fn cancel(&mut self) {
        if !std::mem::replace(&mut self.cancelled, true) {
            let cancel =
                self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
            // If the broker does not confirm in time, the stream later ends as a lost link.
            let _ = tokio::time::timeout(CALL_TIMEOUT, cancel).await;
        }
    }
}

struct RabbitSettle(Acker);

#[async_trait]
impl Settle for RabbitSettle {
    async fn ack(&self) {
        // An error means that the link is lost; the broker then redelivers the message.
        let _ = self.0.ack(BasicAckOptions::default()).await;
    }

    async fn requeue(&self) {
        let _ = self.0.nack(BasicNackOptions { multiple: false, requeue: true }).await;
    }
}

fn to_delivery(amqp: AmqpDelivery) -> Delivery {
    let kind = amqp.properties.kind().as_ref().map_or("", |kind| kind.as_str());
    let headers = amqp.properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
    let redeliveries = count.and_then(as_count).unwrap_or(0);
    let broker_cause = headers.and_then(death::last_cause);
    let kind = MessageKind::from_name(kind);
    let mut delivery = Delivery::new(kind, amqp.data, Box::new(RabbitSettle(amqp.acker)));
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
