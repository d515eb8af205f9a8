//! The RabbitMQ engine as one value that hands out its port.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::uri::AMQPUri;
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Queue, QueueBackend};

use super::RabbitQueue;

/// The text is not an AMQP URL. The error does not quote it, because it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an AMQP URL: write amqp://user:password@host:5672/vhost, or amqps:// for TLS")]
pub struct BadUrl;

/// The RabbitMQ queue engine. Its queue connects when it is first used.
pub struct RabbitBackend {
    uri: AMQPUri,
    queue: String,
}

impl RabbitBackend {
    /// Uses the queue named `queue`, and further queues whose names begin with it, on the broker at
    /// `url`.
    ///
    /// # Errors
    /// `url` is not an AMQP URL.
    pub fn new(url: &str, queue: &str) -> Result<Self, BadUrl> {
        let uri = url.parse().map_err(|_| BadUrl)?;
        Ok(Self { uri, queue: queue.to_owned() })
    }
}

#[async_trait]
impl QueueBackend for RabbitBackend {
    fn queue(&self, role: &str, retry_delays: &[Duration]) -> Result<Arc<dyn Queue>, Unavailable> {
        Ok(Arc::new(RabbitQueue::new(self.uri.clone(), &self.queue, role, retry_delays)))
    }

    fn queue_for_command(&self, command: &str) -> Result<Arc<dyn Queue>, Unavailable> {
        self.queue(command, &[])
    }

    /// Does nothing: a role declares its queues whenever it connects.
    async fn migrate(&self) -> Result<Vec<String>, Unavailable> {
        Ok(Vec::new())
    }

    fn describe(&self) -> String {
        "RabbitMQ".to_owned()
    }
}
