//! The writer: the only thread of this process that changes the queue's file.

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
use super::messages::{self, Claimed, Settlement};
use crate::sqlite::error::{describe, unavailable};

/// Maximum number of jobs that share a transaction, besides the first.
const JOBS_MAX: usize = 1_024;
/// Interval of the check of the disk space and of the retry of failed settlements.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Sends jobs to the thread. Cheap to clone; the thread ends when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    published: watch::Receiver<()>,
    publish_health: HealthWatch,
    consume_health: HealthWatch,
}

enum Job {
    Publish(Message, oneshot::Sender<Result<(), PublishError>>),
    Claim(ClaimRequest, oneshot::Sender<Result<Claimed, Unavailable>>),
    Settle(Settlement, oneshot::Sender<()>),
}

struct Message {
    to: Destination,
    kind: MessageKind,
    body: Vec<u8>,
}

struct ClaimRequest {
    source: Source,
    subscription: i64,
    count: usize,
}

impl Writer {
    pub fn start(connection: Connection, disk_space: DiskSpace) -> Result<Self, Unavailable> {
        let queued_bytes =
            messages::queued_bytes(&connection).map_err(|error| unavailable(&error))?;
        let (jobs, receiver) = channel();
        let (published_sender, published) = watch::channel(());
        let (publish_sender, publish_health) = watch::channel(Health::Up);
        let (consume_sender, consume_health) = watch::channel(Health::Up);
        let thread = WriterThread {
            connection,
            jobs: receiver,
            disk_space,
            queued_bytes,
            failed_settlements: Vec::new(),
            published: published_sender,
            publish_health: publish_sender,
            consume_health: consume_sender,
        };
        std::thread::Builder::new()
            .name("sqlite-queue".into())
            .spawn(|| thread.run())
            .map_err(|error| Unavailable(format!("starting the queue's thread failed: {error}")))?;
        Ok(Self { jobs, published, publish_health, consume_health })
    }

    pub fn publish_health(&self) -> HealthWatch {
        self.publish_health.clone()
    }

    pub fn consume_health(&self) -> HealthWatch {
        self.consume_health.clone()
    }

    /// Notifies of every commit that may have made a message available.
    pub fn published(&self) -> watch::Receiver<()> {
        self.published.clone()
    }

    /// Returns once the message is on the disk.
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

    /// Requests messages. The receiver may be awaited later, and across several futures.
    pub fn claim(
        &self,
        source: Source,
        subscription: i64,
        count: usize,
    ) -> oneshot::Receiver<Result<Claimed, Unavailable>> {
        let (answer, answered) = oneshot::channel();
        // If the thread has ended, `answer` is dropped, and the receiver reports that.
        let request = ClaimRequest { source, subscription, count };
        let _ = self.jobs.send(Job::Claim(request, answer));
        answered
    }

    /// The receiver resolves once the settlement is on the disk. It resolves with an error if the
    /// settlement failed; the thread then retries it.
    pub fn settle(&self, settlement: Settlement) -> oneshot::Receiver<()> {
        let (answer, answered) = oneshot::channel();
        let _ = self.jobs.send(Job::Settle(settlement, answer));
        answered
    }
}

/// Error text if the thread has ended, which only a bug can cause.
pub(super) const THREAD_ENDED: &str = "the queue's thread has ended";

struct WriterThread {
    connection: Connection,
    jobs: Receiver<Job>,
    disk_space: DiskSpace,
    /// The bytes of all bodies in the file.
    queued_bytes: u64,
    /// Settlements that failed and are to be retried.
    failed_settlements: Vec<Settlement>,
    published: watch::Sender<()>,
    publish_health: watch::Sender<Health>,
    consume_health: watch::Sender<Health>,
}

/// The result of a job, to be sent once it is committed.
enum Done {
    Published { bytes: u64 },
    Refused(PublishError),
    Claimed(Claimed),
    Settled { bytes: u64 },
}

/// A transaction that was rolled back, or may have been.
enum Failed {
    /// It did not begin, for example because another process keeps the file busy.
    AtBegin(Error),
    /// A statement failed, so nothing was committed.
    BeforeCommit(Error),
    /// The disk failed during the commit: the changes may be there after the next start.
    AtCommit(Error),
}

impl WriterThread {
    fn run(mut self) {
        loop {
            let jobs = match self.jobs.recv_timeout(CHECK_INTERVAL) {
                Ok(first) => {
                    std::iter::once(first).chain(self.jobs.try_iter().take(JOBS_MAX)).collect()
                }
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            self.check_disk_space();
            self.retry_settlements();
            if !jobs.is_empty() {
                self.work(jobs);
            }
        }
    }

    /// Performs all jobs in one transaction. If that fails, performs each in a separate
    /// transaction, so that a failing job does not fail the others.
    fn work(&mut self, jobs: Vec<Job>) {
        match self.transact(&jobs) {
            Ok(done) => {
                self.consume_health.send_if_modified(|health| replace(health, Health::Up));
                jobs.into_iter().zip(done).for_each(|(job, done)| self.answer(job, done));
            }
            Err(Failed::BeforeCommit(_) | Failed::AtCommit(_)) if jobs.len() > 1 => {
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
        let done = done.map_err(Failed::BeforeCommit)?;
        transaction.commit().map_err(Failed::AtCommit)?;
        Ok(done)
    }

    fn answer(&mut self, job: Job, done: Done) {
        // The receiver may be dropped; the job is committed nevertheless.
        match (job, done) {
            (Job::Publish(_, answer), Done::Published { bytes }) => {
                self.queued_bytes += bytes;
                self.published.send_replace(());
                let _ = answer.send(Ok(()));
            }
            (Job::Publish(_, answer), Done::Refused(error)) => {
                let _ = answer.send(Err(error));
            }
            (Job::Claim(request, answer), Done::Claimed(claimed)) => {
                if answer.send(Ok(claimed)).is_err() {
                    self.failed_settlements.push(Settlement::RequeueAll(request.subscription));
                }
            }
            (Job::Settle(settlement, answer), Done::Settled { bytes }) => {
                self.settled(settlement, bytes);
                let _ = answer.send(());
            }
            _ => error!("a job of the queue got the result of another kind of job: this is a bug"),
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
            Failed::AtBegin(error) | Failed::BeforeCommit(error) => (describe(error), true),
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
            Job::Claim(_, answer) => {
                let _ = answer.send(Err(Unavailable(error)));
            }
            Job::Settle(settlement, _) => self.failed_settlements.push(settlement),
        }
    }

    /// Also detects that the file is writable again: a subscription whose claim failed ends, and
    /// the settlement of its end fails too and is retried here.
    fn retry_settlements(&mut self) {
        let settlements = std::mem::take(&mut self.failed_settlements);
        if settlements.is_empty() {
            return;
        }
        let jobs =
            settlements.into_iter().map(|settlement| Job::Settle(settlement, oneshot::channel().0));
        self.work(jobs.collect());
    }

    /// Accepts activities only while the disk has space for them and for storing them.
    fn check_disk_space(&self) {
        let is_refusing = *self.publish_health.borrow() != Health::Up;
        let health = match self.disk_space.check(self.queued_bytes, is_refusing) {
            Ok(()) => Health::Up,
            Err(reason) => Health::Down(reason),
        };
        self.publish_health.send_if_modified(|before| {
            match (&*before, &health) {
                (Health::Up, Health::Down(reason)) => warn!(reason, "activities are refused"),
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
            Destination::Retry(_) if !messages::accepts_retries(transaction, now)? => {
                Ok(Done::Refused(PublishError::Refused("the retry queue is full".into())))
            }
            to => {
                messages::publish(transaction, to, message.kind, &message.body, now)?;
                Ok(Done::Published { bytes: message.body.len() as u64 })
            }
        },
        Job::Claim(ClaimRequest { source, subscription, count }, _) => {
            messages::claim(transaction, *source, *subscription, *count, now).map(Done::Claimed)
        }
        Job::Settle(settlement, _) => {
            let bytes = messages::settle(transaction, *settlement)?;
            Ok(Done::Settled { bytes })
        }
    }
}

/// Sets the health; returns `true` if it changed.
fn replace(health: &mut Health, new: Health) -> bool {
    let is_changed = *health != new;
    *health = new;
    is_changed
}
