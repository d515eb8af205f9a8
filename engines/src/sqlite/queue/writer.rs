//! The writer: the only thread of this process that changes the queue's file.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Error, Transaction};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Destination, MessageKind, PublishError, Source};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch};
use trailpad_common::timestamp::Timestamp;

use super::disk_space::DiskSpace;
use super::log_size::LogSize;
use super::messages::{self, Claimed, Settlement};
use crate::sqlite::error::{describe, unavailable};
use crate::sqlite::free_pages::{self, PAGES_PER_STEP};

/// Maximum number of jobs that share a transaction, besides the first.
const JOBS_MAX: usize = 1_024;
/// Interval of the check of the disk space and of the retry of failed settlements.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Wait before the next step while free pages are being returned to the disk.
const GIVE_BACK_INTERVAL: Duration = Duration::from_millis(20);
/// Free pages that stay in the file for the next messages: 1 MiB.
const FREE_PAGES_KEPT: u64 = 256;

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

/// Where a published message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A sender, or a command. Activities are refused while the disk is nearly full.
    Sender,
    /// A worker, about a message that the queue already holds. Refusing it would save no space.
    Worker,
}

struct Message {
    origin: Origin,
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
    pub fn start(
        connection: Connection,
        disk_space: DiskSpace,
        log_size: LogSize,
    ) -> Result<Self, Unavailable> {
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
            log_size,
            checked_at: None,
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
        origin: Origin,
        to: Destination,
        kind: MessageKind,
        body: Vec<u8>,
    ) -> Result<(), PublishError> {
        let (answer, answered) = oneshot::channel();
        let message = Message { origin, to, kind, body };
        let is_sent = self.jobs.send(Job::Publish(message, answer)).is_ok();
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
    log_size: LogSize,
    /// When the log's size was last checked.
    checked_at: Option<Instant>,
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
        let mut has_spare_pages = false;
        loop {
            let wait = if has_spare_pages { GIVE_BACK_INTERVAL } else { CHECK_INTERVAL };
            let jobs: Vec<Job> = match self.jobs.recv_timeout(wait) {
                Ok(first) => {
                    std::iter::once(first).chain(self.jobs.try_iter().take(JOBS_MAX)).collect()
                }
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let is_idle = jobs.is_empty();
            let has_disk_space = self.check_disk_space();
            self.retry_settlements();
            if !is_idle {
                self.work(jobs);
            }
            let is_check_due = self.is_check_due();
            if is_check_due {
                self.log_size.check();
                has_spare_pages = self.spare_pages() > 0;
            }
            // The store needs the space now if the disk itself has none.
            if has_spare_pages && (is_idle || (is_check_due && !has_disk_space)) {
                self.give_back();
                has_spare_pages = self.spare_pages() > 0;
            }
        }
    }

    /// `true` once per [`CHECK_INTERVAL`].
    fn is_check_due(&mut self) -> bool {
        let is_due = self.checked_at.is_none_or(|at| at.elapsed() >= CHECK_INTERVAL);
        if is_due {
            self.checked_at = Some(Instant::now());
        }
        is_due
    }

    /// Free pages beyond those that stay in the file, if they can be returned.
    fn spare_pages(&self) -> u64 {
        free_pages::movable(&self.connection).unwrap_or(0).saturating_sub(FREE_PAGES_KEPT)
    }

    /// Returns free pages to the disk in one short transaction.
    ///
    /// An error is not reported: pages that stay in the file cost nothing but their space, and a
    /// disk that fails is noticed by the next message.
    fn give_back(&self) {
        let count = self.spare_pages().min(PAGES_PER_STEP);
        let _ = free_pages::give_back(&self.connection, count);
        if self.spare_pages() == 0 {
            let _ = free_pages::checkpoint(&self.connection);
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

    /// Accepts activities only while the disk has space for them and for storing them. Returns
    /// `false` if the disk itself lacks the space, even if the files have it.
    fn check_disk_space(&mut self) -> bool {
        let is_refusing = *self.publish_health.borrow() != Health::Up;
        let verdict = self.disk_space.check(&self.connection, self.queued_bytes, is_refusing);
        let health = match verdict.accepts {
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
        verdict.has_disk_space
    }
}

fn perform(transaction: &Transaction<'_>, job: &Job, may_accept: bool) -> Result<Done, Error> {
    let now = Timestamp::now();
    match job {
        Job::Publish(message, _) => match message.to {
            Destination::Activities if message.origin == Origin::Sender && !may_accept => {
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
