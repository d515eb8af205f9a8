//! The feature flag `stream_queue`, which at-least-once dead-lettering needs on RabbitMQ 3.10 and
//! 3.11. Without it, the broker silently falls back to at-most-once and may lose a message between
//! two queues. Later versions always have it.

use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use super::error::{describe, is_channel_error, is_internal_error};

const DISABLED: &str = "the broker's feature flag stream_queue is disabled, so it may lose messages \
    that it dead-letters: run `rabbitmqctl enable_feature_flag stream_queue` on a node of the broker";

/// Checks the flag. AMQP 0-9-1 does not report feature flags, so this declares a stream that the
/// broker never creates, because streams cannot be exclusive. A broker with the flag refuses the
/// property (406); a broker without it refuses the type (541) and closes the connection.
///
/// # Errors
/// The flag is disabled, or the connection is lost.
pub(super) async fn check(connection: &Connection, queue: &str) -> Result<(), String> {
    let declared = async {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { durable: true, exclusive: true, ..Default::default() };
        let mut arguments = FieldTable::default();
        let stream = AMQPValue::LongString(LongString::from("stream"));
        arguments.insert("x-queue-type".into(), stream);
        let name = ShortString::from(format!("{queue}.feature-check").as_str());
        channel.queue_declare(name, options, arguments).await
    };
    match declared.await {
        Err(error) if is_internal_error(&error) => Err(DISABLED.to_owned()),
        // An exclusive queue is deleted with its connection. A user without the permission to
        // declare it cannot check the flag.
        Ok(_) => Ok(()),
        Err(error) if is_channel_error(&error) => Ok(()),
        Err(error) => Err(describe(&error)),
    }
}
