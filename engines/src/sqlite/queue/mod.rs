//! The queue on SQLite.
//!
//! One thread writes. All publishes, claims and settlements that wait for it share one transaction,
//! and therefore one wait for the disk.
//!
//! # The life of a message
//!
//! A message is a row of `messages`, and a row of `bodies` with the same id. A delivery begins with
//! a claim, which sets `taken_by` to the number of the subscription:
//!
//! | event                                     | `due_at`    | `taken_by`   | `deliveries` |
//! |-------------------------------------------|-------------|--------------|--------------|
//! | published to the activities, or as dead   | 0           | `NULL`       | 0            |
//! | published to a retry                      | now + delay | `NULL`       | 0            |
//! | claimed by a subscription, once it is due | unchanged   | subscription | + 1          |
//! | requeued, or its subscription was dropped | unchanged   | `NULL`       | - 1          |
//! | its process ended, and the next one opens | unchanged   | `NULL`       | unchanged    |
//! | acknowledged                              | both rows are deleted      |              |
//!
//! So `deliveries` counts the deliveries that ended with their process: these are the redeliveries
//! that find a poison message. The test
//! `a_message_is_claimed_when_due_and_counts_only_deliveries_that_ended_with_their_process` shows
//! each event of a retry.

mod disk_space;
mod log_size;
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
use log_size::LogSize;
use subscription::SqliteSubscription;
use writer::{Origin, Writer};

pub struct SqliteQueue {
    writer: Writer,
    /// A second connection, for queries.
    reader: Database,
    subscriptions: AtomicI64,
}

impl SqliteQueue {
    /// Opens the queue for the process that serves the directory, and requeues the messages that an
    /// earlier process had claimed. Activities are refused while the free space of the disk is less
    /// than `free_bytes_min` plus the space that the store needs for the queued messages.
    ///
    /// # Errors
    /// The file can't be opened, or has the schema of another version.
    pub fn open(directory: &DataDir, free_bytes_min: u64) -> Result<Self, Unavailable> {
        let connection = directory.open_queue()?;
        messages::recover(&connection).map_err(|error| unavailable(&error))?;
        Self::start(connection, directory, free_bytes_min)
    }

    /// Opens the queue for a process that only publishes. Another process may serve the directory,
    /// so claimed messages are left as they are.
    ///
    /// # Errors
    /// The file can't be opened, or has the schema of another version.
    pub fn open_for_command(directory: &DataDir, free_bytes_min: u64) -> Result<Self, Unavailable> {
        Self::start(directory.open_queue()?, directory, free_bytes_min)
    }

    fn start(
        connection: Connection,
        directory: &DataDir,
        free_bytes_min: u64,
    ) -> Result<Self, Unavailable> {
        let reader = Database::new(directory.open_queue()?);
        let disk_space = DiskSpace::new(directory.path(), free_bytes_min);
        let writer = Writer::start(connection, disk_space, LogSize::new(directory.clone()))?;
        Ok(Self { writer, reader, subscriptions: AtomicI64::new(1) })
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    fn publisher(&self) -> Box<dyn Publisher> {
        Box::new(SqlitePublisher { writer: self.writer.clone(), origin: Origin::Sender })
    }

    fn republisher(&self) -> Box<dyn Publisher> {
        Box::new(SqlitePublisher { writer: self.writer.clone(), origin: Origin::Worker })
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

struct SqlitePublisher {
    writer: Writer,
    origin: Origin,
}

#[async_trait]
impl Publisher for SqlitePublisher {
    async fn publish(
        &mut self,
        to: Destination,
        kind: MessageKind,
        body: &[u8],
    ) -> Result<(), PublishError> {
        self.writer.publish(self.origin, to, kind, body.to_vec()).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::file::open;
    use super::super::migrate::{QUEUE, migrate};
    use super::messages::{Settlement, claim, publish, recover, settle};
    use super::*;

    const SUBSCRIPTION: i64 = 7;

    /// `(taken_by, deliveries)` of the only message; `None` if it is deleted.
    fn row(connection: &Connection) -> Option<(Option<i64>, i64)> {
        let sql = "SELECT taken_by, deliveries FROM messages JOIN bodies USING (id)";
        let mut statement = connection.prepare(sql).expect("the statement should be valid");
        let mut rows = statement
            .query_map([], |row| Ok((row.get("taken_by")?, row.get("deliveries")?)))
            .expect("the query should succeed");
        rows.next().transpose().expect("the row should be read")
    }

    #[tokio::test]
    async fn on_a_full_disk_senders_are_refused_and_the_messages_of_workers_are_not() {
        let directory = tempfile::tempdir().expect("a temporary directory should be created");
        let path = directory.path().join("queue.db");
        std::fs::File::create(&path).expect("the file should be created");
        migrate(&path, &QUEUE).expect("the migration should succeed");
        let queue = SqliteQueue::open(&DataDir::at(directory.path()), u64::MAX)
            .expect("the queue should open");
        for to in [Destination::Activities, Destination::Retry(Duration::ZERO), Destination::Dead] {
            let published = queue.republisher().publish(to, MessageKind::Activities, b"body").await;
            assert_eq!(published, Ok(()), "{to:?}");
        }
        let published = queue
            .publisher()
            .publish(Destination::Activities, MessageKind::Activities, b"body")
            .await;
        assert!(matches!(published, Err(PublishError::NotAccepted(_))), "{published:?}");
    }

    #[test]
    fn a_message_is_claimed_when_due_and_counts_only_deliveries_that_ended_with_their_process() {
        let directory = tempfile::tempdir().expect("a temporary directory should be created");
        let path = directory.path().join("queue.db");
        std::fs::File::create(&path).expect("the file should be created");
        migrate(&path, &QUEUE).expect("the migration should succeed");
        let connection = open(&path).expect("the file should open");
        let now = Timestamp::now();
        let due = Timestamp::from_unix_micros(now.unix_micros() + 10_000_000);
        let claim = |at| {
            claim(&connection, Source::Activities, SUBSCRIPTION, 10, at)
                .expect("the claim should succeed")
        };
        let settle =
            |settlement| settle(&connection, settlement).expect("the settlement should succeed");

        let retry = Destination::Retry(Duration::from_secs(10));
        publish(&connection, retry, MessageKind::Activities, b"body", now)
            .expect("publishing should succeed");
        assert_eq!(row(&connection), Some((None, 0)), "published");

        let early = claim(now);
        assert!(early.messages.is_empty(), "not due yet");
        assert_eq!(early.next_due, Some(due));

        let first = claim(due);
        assert_eq!((first.messages.len(), first.messages[0].redeliveries), (1, 0));
        assert_eq!(row(&connection), Some((Some(SUBSCRIPTION), 1)), "claimed");
        assert!(claim(due).messages.is_empty(), "claimed only once");

        settle(Settlement::Requeue(first.messages[0].id));
        assert_eq!(row(&connection), Some((None, 0)), "requeued: the delivery is not counted");

        claim(due);
        settle(Settlement::RequeueAll(SUBSCRIPTION));
        assert_eq!(row(&connection), Some((None, 0)), "the subscription was dropped");

        claim(due);
        recover(&connection).expect("the recovery should succeed");
        assert_eq!(row(&connection), Some((None, 1)), "the process ended: the delivery is counted");

        let second = claim(due);
        assert_eq!(second.messages[0].redeliveries, 1);
        let removed_bytes = settle(Settlement::Ack(second.messages[0].id));
        assert_eq!((row(&connection), removed_bytes), (None, 4), "acknowledged");
    }
}
