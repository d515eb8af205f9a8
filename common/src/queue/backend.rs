//! A queue engine: the factory of its port.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Queue;
use crate::failure::Unavailable;

#[async_trait]
pub trait QueueBackend: Send + Sync {
    /// Opens the queue for the role `role`; operators see this name on the connections.
    /// `retry_delays` are the delays of [`Destination::Retry`](super::Destination) that the role uses.
    fn queue(&self, role: &str, retry_delays: &[Duration]) -> Result<Arc<dyn Queue>, Unavailable>;

    /// Opens the queue for a command that only publishes, while another process serves the queue.
    fn queue_for_command(&self, command: &str) -> Result<Arc<dyn Queue>, Unavailable>;

    /// Migrates the queue's schema, if it has a schema, to the version of this code. Returns the names
    /// of the applied migrations.
    async fn migrate(&self) -> Result<Vec<String>, Unavailable>;

    /// The queue's location, for people. Contains no secret.
    fn describe(&self) -> String;
}
