//! The queue on SQLite.
//!
//! One thread does all the writing: what waits for it, be it messages to publish, to take or to
//! settle, shares one transaction and with it one wait for the disk.

mod messages;
mod room;
mod subscription;
mod writer;

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use trailpad_common::failure::Unavailable;
use trailpad_common::lifecycle::HealthWatch;
use trailpad_common::ports::{
    Destination, MessageKind, PublishError, Publisher, Queue, Source, Subscription,
};

use super::data_dir::DataDir;
use room::Room;
use subscription::SqliteSubscription;
use writer::Writer;

/// The queue in a file, for the process that serves its directory.
pub struct SqliteQueue {
    writer: Writer,
    subscriptions: AtomicI64,
}

impl SqliteQueue {
    /// Opens the queue of a data directory; what a process that ended had in hand comes again.
    /// Activities are refused while the disk has less than `free_bytes_min` free, and the room
    /// that the store needs for what is waiting.
    ///
    /// # Errors
    /// It can't be opened, or has another version's schema.
    pub fn open(directory: &DataDir, free_bytes_min: u64) -> Result<Self, Unavailable> {
        let room = Room::new(directory.path(), free_bytes_min);
        let writer = Writer::start(directory.open_queue()?, room)?;
        Ok(Self { writer, subscriptions: AtomicI64::new(1) })
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(SqlitePublisher(self.writer.clone()))
    }

    fn publish_health(&self) -> HealthWatch {
        self.writer.publish_health()
    }

    fn consume_health(&self) -> HealthWatch {
        self.writer.consume_health()
    }

    async fn subscribe(
        &self,
        source: Source,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Unavailable> {
        let number = self.subscriptions.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(SqliteSubscription::new(self.writer.clone(), number, source, prefetch)))
    }
}

struct SqlitePublisher(Writer);

#[async_trait]
impl Publisher for SqlitePublisher {
    async fn publish(
        &mut self,
        to: Destination,
        kind: MessageKind,
        body: &[u8],
    ) -> Result<(), PublishError> {
        self.0.publish(to, kind, body.to_vec()).await
    }
}
