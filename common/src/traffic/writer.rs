//! Writes the counters of a role every second, and deletes old counts once per span. Best effort.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::debug;

use super::{Counts, KEPT, RejectedRequest, TrafficLog, span_of};
use crate::id::WebhookId;
use crate::timestamp::Timestamp;

const WRITE_EVERY: Duration = Duration::from_secs(1);
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// The same limit as for requeueing messages: both delay the exit between the drain and a SIGKILL.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// Counters and rejected requests since the last write.
#[derive(Default)]
pub struct Unwritten {
    /// Kept and added up if a write fails.
    counts: HashMap<WebhookId, Counts>,
    /// Dropped if a write fails.
    pub refused: Vec<RejectedRequest>,
}

impl Unwritten {
    pub fn count(&mut self, webhook_id: WebhookId, counts: Counts) {
        *self.counts.entry(webhook_id).or_default() += counts;
    }

    async fn write(&mut self, log: &dyn TrafficLog) {
        if self.counts.is_empty() && self.refused.is_empty() {
            return;
        }
        let counts: Vec<_> = self.counts.iter().map(|(id, counts)| (*id, *counts)).collect();
        let recording = log.record(Timestamp::now(), &counts, &self.refused);
        let recorded = timeout(WRITE_TIMEOUT, recording).await;
        self.refused.clear();
        match recorded {
            Ok(Ok(())) => self.counts.clear(),
            _ => debug!("traffic not written; keeping the counts for the next write"),
        }
    }
}

/// Writes in the background until [`TrafficWriter::finish`] is called or the writer is dropped.
pub struct TrafficWriter {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl TrafficWriter {
    /// Every second, `take` adds the current counters and the writer writes them.
    pub fn start(
        log: Arc<dyn TrafficLog>,
        take: impl FnMut(&mut Unwritten) + Send + 'static,
    ) -> Self {
        let (end, ended) = oneshot::channel();
        Self { end, task: tokio::spawn(write_until(ended, log, take)) }
    }

    /// Calls `take` and writes once more, within at most 3 s.
    pub async fn finish(self) {
        drop(self.end);
        let _ = timeout(FINISH_TIMEOUT, self.task).await;
    }
}

async fn write_until(
    mut ended: oneshot::Receiver<()>,
    log: Arc<dyn TrafficLog>,
    mut take: impl FnMut(&mut Unwritten),
) {
    let mut ticks = interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unwritten = Unwritten::default();
    let mut forgot_in = None;
    let mut is_last = false;
    while !is_last {
        is_last = tokio::select! {
            biased;
            _ = &mut ended => true,
            _ = ticks.tick() => false,
        };
        take(&mut unwritten);
        unwritten.write(&*log).await;
        forget_old(&*log, &mut forgot_in, Timestamp::now()).await;
    }
}

/// Deletes old counts at most once per span, because they expire by the span. After a failure, the
/// next span tries again.
async fn forget_old(log: &dyn TrafficLog, forgot_in: &mut Option<Timestamp>, now: Timestamp) {
    let span = span_of(now);
    if forgot_in.replace(span) == Some(span) {
        return;
    }
    let forgetting = log.forget(now - KEPT);
    if !matches!(timeout(WRITE_TIMEOUT, forgetting).await, Ok(Ok(()))) {
        debug!("old traffic not deleted; trying again in the next span");
    }
}

#[cfg(test)]
mod tests {
    use std::mem::take;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::failure::Unavailable;

    /// Never answers if `hangs`. Otherwise fails `failures` times, then keeps the records.
    #[derive(Default)]
    struct Log {
        hangs: bool,
        failures: Mutex<u32>,
        counts: Mutex<Vec<(WebhookId, Counts)>>,
        refused: Mutex<Vec<RejectedRequest>>,
        forgotten: Mutex<Vec<Timestamp>>,
    }

    #[async_trait]
    impl TrafficLog for Log {
        async fn record(
            &self,
            _at: Timestamp,
            counts: &[(WebhookId, Counts)],
            refused: &[RejectedRequest],
        ) -> Result<(), Unavailable> {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            let mut failures = self.failures.lock().expect("the lock should not be poisoned");
            if *failures > 0 {
                *failures -= 1;
                return Err(Unavailable("connection refused".into()));
            }
            self.counts.lock().expect("the lock should not be poisoned").extend_from_slice(counts);
            self.refused
                .lock()
                .expect("the lock should not be poisoned")
                .extend_from_slice(refused);
            Ok(())
        }

        async fn forget(&self, before: Timestamp) -> Result<(), Unavailable> {
            self.forgotten.lock().expect("the lock should not be poisoned").push(before);
            Ok(())
        }
    }

    fn request() -> RejectedRequest {
        RejectedRequest {
            webhook_id: WebhookId::generate(),
            at: Timestamp::now(),
            problem: "{}".into(),
        }
    }

    const ACCEPTED: Counts = Counts { accepted: 1, refused: 0, stored: 0, dead: 0 };

    #[tokio::test]
    async fn a_rejected_request_is_written_even_without_new_counts() {
        let log = Log::default();
        let request = request();
        let mut unwritten = Unwritten::default();
        unwritten.refused.push(request.clone());
        unwritten.write(&log).await;
        assert_eq!(*log.refused.lock().expect("the lock should not be poisoned"), [request]);
    }

    #[tokio::test]
    async fn counts_of_failed_writes_are_written_later_and_once() {
        let log = Log { failures: Mutex::new(2), ..Log::default() };
        let id = WebhookId::generate();
        let mut unwritten = Unwritten::default();
        unwritten.refused.push(request());
        for _ in 0..4 {
            unwritten.count(id, ACCEPTED);
            unwritten.write(&log).await;
        }
        let three = Counts { accepted: 3, ..Counts::default() };
        assert_eq!(
            *log.counts.lock().expect("the lock should not be poisoned"),
            [(id, three), (id, ACCEPTED)]
        );
        assert_eq!(*log.refused.lock().expect("the lock should not be poisoned"), []);
    }

    #[tokio::test]
    async fn counts_older_than_thirty_days_are_deleted_once_per_span() {
        let log = Log::default();
        let mut forgot_in = None;
        let timestamp = |text: &str| Timestamp::parse(text).expect(text).timestamp;
        for now in ["2024-08-31T11:30:00Z", "2024-08-31T11:39:59Z", "2024-08-31T11:40:01Z"] {
            forget_old(&log, &mut forgot_in, timestamp(now)).await;
        }
        let expected = ["2024-08-01T11:30:00Z", "2024-08-01T11:40:01Z"].map(timestamp);
        assert_eq!(*log.forgotten.lock().expect("the lock should not be poisoned"), expected);
    }

    /// A writer, and a function that counts an accepted activity of a webhook.
    fn writer(log: &Arc<Log>) -> (TrafficWriter, impl Fn(WebhookId)) {
        let counting = Arc::new(Mutex::new(Vec::new()));
        let counted = counting.clone();
        let writer = TrafficWriter::start(log.clone(), move |unwritten| {
            let counted = take(&mut *counted.lock().expect("the lock should not be poisoned"));
            counted.into_iter().for_each(|id| unwritten.count(id, ACCEPTED));
        });
        (writer, move |id| counting.lock().expect("the lock should not be poisoned").push(id))
    }

    #[tokio::test]
    async fn counts_from_before_the_end_are_written_by_finish() {
        let log = Arc::new(Log::default());
        let id = WebhookId::generate();
        let (writer, count) = writer(&log);
        count(id);
        writer.finish().await;
        assert_eq!(*log.counts.lock().expect("the lock should not be poisoned"), [(id, ACCEPTED)]);
    }

    #[tokio::test]
    async fn a_log_that_never_answers_does_not_block_finish() {
        let log = Arc::new(Log { hangs: true, ..Log::default() });
        let (writer, count) = writer(&log);
        count(WebhookId::generate());
        let began = std::time::Instant::now();
        writer.finish().await;
        assert!(began.elapsed() < WRITE_TIMEOUT, "{:?}", began.elapsed());
    }
}
