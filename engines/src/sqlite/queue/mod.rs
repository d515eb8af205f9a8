//! The queue on SQLite.
//!
//! One thread does all the writing: what waits for it, be it messages to publish, to take or to
//! settle, shares one transaction and with it one wait for the disk.

mod disk_space;
mod messages;
mod subscription;
mod writer;

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use rusqlite::Connection;
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{
    Depths, Destination, MessageKind, PublishError, Publisher, Queue, Source, Subscription,
};
use trailpad_common::runtime::lifecycle::HealthWatch;
use trailpad_common::timestamp::Timestamp;

use super::data_dir::DataDir;
use super::error::unavailable;
use super::file::Database;
use disk_space::DiskSpace;
use subscription::SqliteSubscription;
use writer::Writer;

/// The queue in a file, for the process that serves its directory.
pub struct SqliteQueue {
    writer: Writer,
    /// For looking, beside the writer's.
    reader: Database,
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
        let connection = directory.open_queue()?;
        messages::recover(&connection).map_err(|error| unavailable(&error))?;
        Self::start(connection, directory, free_bytes_min)
    }

    /// Opens the queue to publish, beside the process that serves it, or without one.
    ///
    /// # Errors
    /// It can't be opened, or has another version's schema.
    pub fn open_beside(directory: &DataDir, free_bytes_min: u64) -> Result<Self, Unavailable> {
        Self::start(directory.open_queue()?, directory, free_bytes_min)
    }

    fn start(
        connection: Connection,
        directory: &DataDir,
        free_bytes_min: u64,
    ) -> Result<Self, Unavailable> {
        let reader = Database::new(directory.open_queue()?);
        let writer = Writer::start(connection, DiskSpace::new(directory.path(), free_bytes_min))?;
        Ok(Self { writer, reader, subscriptions: AtomicI64::new(1) })
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

    async fn depths(&self) -> Result<Depths, Unavailable> {
        let depths = self.reader.with(|connection| messages::depths(connection, Timestamp::now()));
        depths.map_err(|error| unavailable(&error))
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
