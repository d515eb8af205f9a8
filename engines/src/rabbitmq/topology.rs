//! The names and arguments of the queues.
//!
//! Arguments are constants, because RabbitMQ permanently refuses to redeclare a queue with other
//! arguments. Settings that operators may change are policies of the broker or options of the
//! worker.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Connection};
use trailpad_common::failure::retry::delay_name;
use trailpad_common::queue::{Depths, Destination};

/// Deliveries before the broker itself dead-letters a message of activities. A last resort, far
/// above the worker's own limit for poison messages.
const DELIVERY_LIMIT: i32 = 20;
/// For queues whose messages must never be dropped. Set explicitly, because RabbitMQ 4.x defaults
/// to 20, and because `-1` means "drop immediately" on 3.x.
const DELIVERY_LIMIT_NONE: i32 = i32::MAX;
/// Maximum length of a retry queue. A message that it refuses is dead-lettered immediately.
pub const RETRY_MESSAGES_MAX: i32 = 100_000;

/// The queues of one installation.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The name of the queue of activities; the others are named after it.
    name: String,
    retry_delays: Vec<Duration>,
}

impl Topology {
    /// Queues whose names begin with `name`, with one retry queue per delay.
    pub fn new(name: &str, retry_delays: &[Duration]) -> Self {
        Self { name: name.to_owned(), retry_delays: retry_delays.to_vec() }
    }

    pub fn queue(&self, to: Destination) -> String {
        match to {
            Destination::Activities => self.name.clone(),
            Destination::Retry(delay) => format!("{}.retry.{}", self.name, delay_name(delay)),
            Destination::Dead => format!("{}.dead", self.name),
        }
    }

    /// Declares every queue. Has no effect on queues that exist.
    pub async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let retries = self.retry_delays.iter().map(|delay| Destination::Retry(*delay));
        // A queue is declared after the queue that it dead-letters into.
        for to in [Destination::Dead, Destination::Activities].into_iter().chain(retries) {
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            let name = ShortString::from(self.queue(to).as_str());
            channel.queue_declare(name, durable, self.arguments(to)).await?;
        }
        Ok(())
    }

    /// Declares every queue on a channel that is then closed.
    pub async fn declare_over(&self, connection: &Connection) -> lapin::Result<()> {
        let channel = connection.create_channel().await?;
        self.declare(&channel).await?;
        channel.close(200, "declared".into()).await
    }

    /// Counts waiting messages on a separate channel: a passive declaration of a queue that does
    /// not exist closes the channel.
    pub async fn depths(&self, connection: &Connection) -> lapin::Result<Depths> {
        let channel = connection.create_channel().await?;
        let mut depths = Depths {
            activities: self.depth(&channel, Destination::Activities).await?,
            dead: self.depth(&channel, Destination::Dead).await?,
            retry: 0,
        };
        for delay in &self.retry_delays {
            depths.retry += self.depth(&channel, Destination::Retry(*delay)).await?;
        }
        channel.close(200, "counted".into()).await?;
        Ok(depths)
    }

    /// Counts the consumers of a queue.
    pub async fn consumers(&self, connection: &Connection, of: Destination) -> lapin::Result<u32> {
        let channel = connection.create_channel().await?;
        let consumers = self.passive(&channel, of).await?.consumer_count();
        channel.close(200, "counted".into()).await?;
        Ok(consumers)
    }

    /// `true` if the queue has a length limit of this topology and is near it. A broker applies
    /// the limit of a quorum queue only approximately.
    pub async fn is_full(&self, connection: &Connection, to: Destination) -> lapin::Result<bool> {
        let Destination::Retry(_) = to else { return Ok(false) };
        let channel = connection.create_channel().await?;
        let depth = self.depth(&channel, to).await?;
        channel.close(200, "counted".into()).await?;
        Ok(depth >= u64::from(RETRY_MESSAGES_MAX.unsigned_abs()) / 100 * 99)
    }

    async fn depth(&self, channel: &Channel, of: Destination) -> lapin::Result<u64> {
        Ok(u64::from(self.passive(channel, of).await?.message_count()))
    }

    async fn passive(&self, channel: &Channel, of: Destination) -> lapin::Result<lapin::Queue> {
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let name = ShortString::from(self.queue(of).as_str());
        channel.queue_declare(name, passive, FieldTable::default()).await
    }

    fn arguments(&self, to: Destination) -> FieldTable {
        let mut table = FieldTable::default();
        let mut set = |key: &str, value: AMQPValue| {
            table.insert(key.into(), value);
        };
        set("x-queue-type", text("quorum"));
        // At-least-once dead-lettering requires this. Without a length limit it rejects nothing.
        set("x-overflow", text("reject-publish"));
        match to {
            Destination::Activities => {
                set("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT));
                self.dead_letter_into(&mut set, Destination::Dead);
            }
            Destination::Retry(delay) => {
                let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                set("x-message-ttl", AMQPValue::LongLongInt(delay_ms));
                set("x-max-length", AMQPValue::LongInt(RETRY_MESSAGES_MAX));
                set("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT_NONE));
                self.dead_letter_into(&mut set, Destination::Activities);
            }
            Destination::Dead => set("x-delivery-limit", AMQPValue::LongInt(DELIVERY_LIMIT_NONE)),
        }
        table
    }

    /// Dead-letters through the default exchange. The message leaves this queue only after the
    /// target queue has confirmed it.
    fn dead_letter_into(&self, set: &mut impl FnMut(&str, AMQPValue), to: Destination) {
        set("x-dead-letter-exchange", text(""));
        set("x-dead-letter-routing-key", text(&self.queue(to)));
        set("x-dead-letter-strategy", text("at-least-once"));
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_queue_is_named_after_its_delay_so_that_a_changed_schedule_does_not_conflict() {
        let topology = Topology::new("trailpad.activities", &[]);
        let retry = |delay| topology.queue(Destination::Retry(delay));
        assert_eq!(retry(Duration::from_secs(10)), "trailpad.activities.retry.10s");
        assert_eq!(retry(Duration::from_secs(90)), "trailpad.activities.retry.1m30s");
        assert_eq!(topology.queue(Destination::Dead), "trailpad.activities.dead");
    }

    #[test]
    fn every_queue_is_a_quorum_queue_with_an_explicit_delivery_limit() {
        let topology = Topology::new("q", &[]);
        for to in
            [Destination::Activities, Destination::Retry(Duration::from_secs(1)), Destination::Dead]
        {
            let arguments = topology.arguments(to);
            assert_eq!(arguments.inner().get("x-queue-type"), Some(&text("quorum")));
            assert!(arguments.inner().contains_key("x-delivery-limit"), "{to:?}");
        }
    }
}
