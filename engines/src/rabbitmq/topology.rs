//! The queues: their names and arguments.
//!
//! Arguments are constants of a version of the code, because RabbitMQ refuses to declare a queue
//! again with others, for ever. What an operator may change is a policy, or the worker's.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Connection};
use trailpad_common::failure::retry::delay_name;
use trailpad_common::queue::{Depths, Destination};

/// Deliveries before the broker dead-letters an activity's message by itself: a last resort far
/// behind the worker's own rule for messages that end their worker.
const DELIVERY_LIMIT: i32 = 20;
/// For queues whose messages must never be dropped. A limit has to be explicit, because 4.x has a
/// default of 20, and `-1` means "drop at once" on 3.x.
const DELIVERY_LIMIT_NONE: i32 = i32::MAX;
/// Messages that may wait in one retry queue; what it refuses is dead-lettered at once.
pub const RETRY_MESSAGES_MAX: i32 = 100_000;

/// The queues of one installation.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The name of the queue of activities; the others are named after it.
    name: String,
    retry_delays: Vec<Duration>,
}

impl Topology {
    /// The queues below `name`, with one retry queue for each delay.
    pub fn new(name: &str, retry_delays: &[Duration]) -> Self {
        Self { name: name.to_owned(), retry_delays: retry_delays.to_vec() }
    }

    /// The name of the queue that is `to`.
    pub fn queue(&self, to: Destination) -> String {
        match to {
            Destination::Activities => self.name.clone(),
            Destination::Retry(delay) => format!("{}.retry.{}", self.name, delay_name(delay)),
            Destination::Dead => format!("{}.dead", self.name),
        }
    }

    /// Declares every queue; harmless where they are there.
    pub async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        let retries = self.retry_delays.iter().map(|delay| Destination::Retry(*delay));
        // A queue that dead-letters comes after the one it dead-letters into.
        for to in [Destination::Dead, Destination::Activities].into_iter().chain(retries) {
            let durable = QueueDeclareOptions { durable: true, ..Default::default() };
            let name = ShortString::from(self.queue(to).as_str());
            channel.queue_declare(name, durable, self.arguments(to)).await?;
        }
        Ok(())
    }

    /// How many messages wait, on a channel of its own: asking for a queue that is not there closes
    /// the channel.
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

    async fn depth(&self, channel: &Channel, to: Destination) -> lapin::Result<u64> {
        let only_look = QueueDeclareOptions { passive: true, ..Default::default() };
        let name = ShortString::from(self.queue(to).as_str());
        let queue = channel.queue_declare(name, only_look, FieldTable::default()).await?;
        Ok(u64::from(queue.message_count()))
    }

    fn arguments(&self, to: Destination) -> FieldTable {
        let mut table = FieldTable::default();
        let mut set = |key: &str, value: AMQPValue| {
            table.insert(key.into(), value);
        };
        set("x-queue-type", text("quorum"));
        // At-least-once dead-lettering asks for this; without a length limit it refuses nothing.
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

    /// Through the default exchange, confirmed by the queue at the other end before the message
    /// leaves this one.
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
    fn a_retry_queue_is_named_after_its_delay_so_that_a_changed_schedule_clashes_with_nothing() {
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
