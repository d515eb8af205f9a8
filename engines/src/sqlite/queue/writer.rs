//! The writer: the one thread that changes the queue's file.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rusqlite::{Connection, Error, Transaction};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Destination, MessageKind, PublishError, Source};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch};
use trailpad_common::timestamp::Timestamp;

use super::disk_space::DiskSpace;
use super::messages::{self, Settlement, Taken};
use crate::sqlite::error::{describe, unavailable};

/// Jobs that share a transaction at most.
const JOBS_MAX: usize = 1_024;
/// How long a job that could not be done, or a disk that was full, waits to be looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Hands jobs to the writer. Cheap to clone; the thread ends with the last of them.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    published: watch::Receiver<()>,
    publish_health: HealthWatch,
    consume_health: HealthWatch,
}

enum Job {
    Publish(Message, oneshot::Sender<Result<(), PublishError>>),
    Take(Request, oneshot::Sender<Result<Taken, Unavailable>>),
    Settle(Settlement, oneshot::Sender<()>),
}

struct Message {
    to: Destination,
    kind: MessageKind,
    body: Vec<u8>,
}

struct Request {
    source: Source,
    subscription: i64,
    count: usize,
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection, room: DiskSpace) -> Result<Self, Unavailable> {
        let queued_bytes =
            messages::queued_bytes(&connection).map_err(|error| unavailable(&error))?;
        let (jobs, receiver) = channel();
        let (published_sender, published) = watch::channel(());
        let (publish_sender, publish_health) = watch::channel(Health::Up);
        let (consume_sender, consume_health) = watch::channel(Health::Up);
        let thread = Thread {
            connection,
            jobs: receiver,
            room,
            queued_bytes,
            unsettled: Vec::new(),
            published: published_sender,
            publish_health: publish_sender,
            consume_health: consume_sender,
        };
        std::thread::Builder::new()
            .name("sqlite-queue".into())
            .spawn(|| thread.run())
            .map_err(|error| Unavailable(format!("the queue's thread: {error}")))?;
        Ok(Self { jobs, published, publish_health, consume_health })
    }

    pub fn publish_health(&self) -> HealthWatch {
        self.publish_health.clone()
    }

    pub fn consume_health(&self) -> HealthWatch {
        self.consume_health.clone()
    }

    /// Changes with every commit that may have put a message into a queue.
    pub fn published(&self) -> watch::Receiver<()> {
        self.published.clone()
    }

    /// Waits until the message is on the disk.
    pub async fn publish(
        &self,
        to: Destination,
        kind: MessageKind,
        body: Vec<u8>,
    ) -> Result<(), PublishError> {
        let (answer, answered) = oneshot::channel();
        let is_sent = self.jobs.send(Job::Publish(Message { to, kind, body }, answer)).is_ok();
        if !is_sent {
            return Err(PublishError::NotAccepted(THREAD_ENDED.into()));
        }
        answered.await.unwrap_or_else(|_| Err(PublishError::Unknown(THREAD_ENDED.into())))
    }

    /// Asks for messages; the answer may be awaited later, and by another await.
    pub fn take(
        &self,
        source: Source,
        subscription: i64,
        count: usize,
    ) -> oneshot::Receiver<Result<Taken, Unavailable>> {
        let (answer, answered) = oneshot::channel();
        // Without a thread the answer's sender is dropped, and that is the answer.
        let _ = self.jobs.send(Job::Take(Request { source, subscription, count }, answer));
        answered
    }

    /// Settles; the receiver may be awaited to know that the file knows. What can't be settled
    /// now is settled later.
    pub fn settle(&self, settlement: Settlement) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        let _ = self.jobs.send(Job::Settle(settlement, answer));
        answered
    }
}

/// What is said when the thread is gone, which only a bug can do.
pub(super) const THREAD_ENDED: &str = "the queue's thread has ended";

struct Thread {
    connection: Connection,
    jobs: Receiver<Job>,
    room: DiskSpace,
    /// The bytes of all bodies in the file.
    queued_bytes: u64,
    /// What could not be settled yet.
    unsettled: Vec<Settlement>,
    published: watch::Sender<()>,
    publish_health: watch::Sender<Health>,
    consume_health: watch::Sender<Health>,
}

/// What a job came to, to be told once it is committed.
enum Done {
    Published { bytes: u64 },
    Refused(PublishError),
    Taken(Taken),
    Settled { bytes: u64 },
}

/// A transaction that was rolled back, or may have been.
enum Failed {
    /// It could not even begin: another process keeps the file busy.
    AtBegin(Error),
    Before(Error),
    /// The disk failed while committing: what was written may come back with the next start.
    AtCommit(Error),
}

impl Thread {
    fn run(mut self) {
        loop {
            let jobs = match self.jobs.recv_timeout(LOOK_AGAIN) {
                Ok(first) => {
                    std::iter::once(first).chain(self.jobs.try_iter().take(JOBS_MAX)).collect()
                }
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.watch_room();
            self.settle_what_is_left();
            if !jobs.is_empty() {
                self.work(jobs);
            }
        }
    }

    /// Does jobs in one transaction; where that fails, each in its own, so that one that can be
    /// done does not suffer from one that can't.
    fn work(&mut self, jobs: Vec<Job>) {
        match self.transact(&jobs) {
            Ok(done) => {
                self.consume_health.send_if_modified(|health| replace(health, Health::Up));
                jobs.into_iter().zip(done).for_each(|(job, done)| self.answer(job, done));
            }
            Err(Failed::Before(_) | Failed::AtCommit(_)) if jobs.len() > 1 => {
                jobs.into_iter().for_each(|job| self.work(vec![job]));
            }
            Err(failed) => jobs.into_iter().for_each(|job| self.fail(job, &failed)),
        }
    }

    fn transact(&mut self, jobs: &[Job]) -> Result<Vec<Done>, Failed> {
        let may_accept = matches!(*self.publish_health.borrow(), Health::Up);
        let transaction = self.connection.transaction().map_err(Failed::AtBegin)?;
        let done: Result<Vec<Done>, Error> =
            jobs.iter().map(|job| perform(&transaction, job, may_accept)).collect();
        let done = done.map_err(Failed::Before)?;
        transaction.commit().map_err(Failed::AtCommit)?;
        Ok(done)
    }

    fn answer(&mut self, job: Job, done: Done) {
        // Whoever asked may have gone; what was done is done.
        match (job, done) {
            (Job::Publish(_, answer), Done::Published { bytes }) => {
                self.queued_bytes += bytes;
                self.published.send_replace(());
                let _ = answer.send(Ok(()));
            }
            (Job::Publish(_, answer), Done::Refused(error)) => {
                let _ = answer.send(Err(error));
            }
            (Job::Take(request, answer), Done::Taken(taken)) => {
                if answer.send(Ok(taken)).is_err() {
                    self.unsettled.push(Settlement::RequeueAll(request.subscription));
                }
            }
            (Job::Settle(settlement, answer), Done::Settled { bytes }) => {
                self.settled(settlement, bytes);
                let _ = answer.send(());
            }
            _ => error!("the queue's thread answered another job: this is a bug"),
        }
    }

    fn settled(&mut self, settlement: Settlement, bytes: u64) {
        self.queued_bytes = self.queued_bytes.saturating_sub(bytes);
        if !matches!(settlement, Settlement::Ack(_)) {
            self.published.send_replace(());
        }
    }

    fn fail(&mut self, job: Job, failed: &Failed) {
        let (error, is_certain) = match failed {
            Failed::AtBegin(error) | Failed::Before(error) => (describe(error), true),
            Failed::AtCommit(error) => (describe(error), false),
        };
        let down = Health::Down(error.clone());
        if self.consume_health.send_if_modified(|health| replace(health, down)) {
            error!(error, "the queue's file can't be written");
        }
        match job {
            Job::Publish(_, answer) if is_certain => {
                let _ = answer.send(Err(PublishError::NotAccepted(error)));
            }
            Job::Publish(_, answer) => {
                let _ = answer.send(Err(PublishError::Unknown(error)));
            }
            Job::Take(_, answer) => {
                let _ = answer.send(Err(Unavailable(error)));
            }
            Job::Settle(settlement, _) => self.unsettled.push(settlement),
        }
    }

    /// A subscription that could not take ends, and its end is settled: so this also finds out
    /// that the file can be written again.
    fn settle_what_is_left(&mut self) {
        let left = std::mem::take(&mut self.unsettled);
        if left.is_empty() {
            return;
        }
        let jobs = left.into_iter().map(|left| Job::Settle(left, oneshot::channel().0));
        self.work(jobs.collect());
    }

    /// Accepts activities while there is room for them and for storing them.
    fn watch_room(&self) {
        let is_refusing = *self.publish_health.borrow() != Health::Up;
        let health = match self.room.check(self.queued_bytes, is_refusing) {
            Ok(()) => Health::Up,
            Err(why) => Health::Down(why),
        };
        self.publish_health.send_if_modified(|before| {
            match (&*before, &health) {
                (Health::Up, Health::Down(why)) => warn!(reason = why, "activities are refused"),
                (Health::Down(_), Health::Up) => info!("activities are accepted again"),
                _ => {}
            }
            replace(before, health)
        });
    }
}

fn perform(transaction: &Transaction<'_>, job: &Job, may_accept: bool) -> Result<Done, Error> {
    let now = Timestamp::now();
    match job {
        Job::Publish(message, _) => match message.to {
            Destination::Activities if !may_accept => {
                Ok(Done::Refused(PublishError::NotAccepted("the disk is nearly full".into())))
            }
            Destination::Retry(_) if !messages::has_room_for_retry(transaction, now)? => {
                Ok(Done::Refused(PublishError::Refused("too many wait for a retry".into())))
            }
            to => {
                messages::publish(transaction, to, message.kind, &message.body, now)?;
                Ok(Done::Published { bytes: message.body.len() as u64 })
            }
        },
        Job::Take(Request { source, subscription, count }, _) => {
            messages::take(transaction, *source, *subscription, *count, now).map(Done::Taken)
        }
        Job::Settle(settlement, _) => {
            let bytes = messages::settle(transaction, *settlement)?;
            Ok(Done::Settled { bytes })
        }
    }
}

/// Whether the health is another now.
fn replace(health: &mut Health, new: Health) -> bool {
    let is_other = *health != new;
    *health = new;
    is_other
}
