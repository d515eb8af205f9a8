//! The writer: each second, writes down what a role has counted, and each span forgets what is old.
//! Best effort.

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
/// As long as handing back may take: both stand between the drain and a SIGKILL.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);

/// What is not written yet.
#[derive(Default)]
pub struct Unwritten {
    /// If they can't be written, they are added up.
    counts: HashMap<WebhookId, Counts>,
    /// If they can't be written, they are dropped.
    pub refused: Vec<RejectedRequest>,
}

impl Unwritten {
    /// Adds counts of a webhook.
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
            _ => debug!("the traffic can't be written; it is counted on"),
        }
    }
}

/// Writes in the background until it is finished, or dropped.
pub struct TrafficWriter {
    end: oneshot::Sender<()>,
    writing: JoinHandle<()>,
}

impl TrafficWriter {
    /// Writes each second what `take` adds.
    pub fn start(
        log: Arc<dyn TrafficLog>,
        take: impl FnMut(&mut Unwritten) + Send + 'static,
    ) -> Self {
        let (end, ended) = oneshot::channel();
        Self { end, writing: tokio::spawn(write_until(ended, log, take)) }
    }

    /// Takes and writes once more, for at most 3 s.
    pub async fn finish(self) {
        drop(self.end);
        let _ = timeout(FINISH_TIMEOUT, self.writing).await;
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
    let (mut forgot_in, mut is_last) = (None, false);
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

/// Once a span, because counts grow old by the span; where it fails, the next one does it.
async fn forget_old(log: &dyn TrafficLog, forgot_in: &mut Option<Timestamp>, now: Timestamp) {
    let span = span_of(now);
    if forgot_in.replace(span) == Some(span) {
        return;
    }
    let forgetting = log.forget(Timestamp::from(now.to_datetime() - KEPT));
    if !matches!(timeout(WRITE_TIMEOUT, forgetting).await, Ok(Ok(()))) {
        debug!("old traffic can't be forgotten now");
    }
}

#[cfg(test)]
mod tests {
    use std::mem::take;
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::failure::Unavailable;

    /// Never answers, or fails the first times and then keeps what is recorded.
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
            let mut failures = self.failures.lock().expect("no panic");
            if *failures > 0 {
                *failures -= 1;
                return Err(Unavailable("away".into()));
            }
            self.counts.lock().expect("no panic").extend_from_slice(counts);
            self.refused.lock().expect("no panic").extend_from_slice(refused);
            Ok(())
        }

        async fn forget(&self, before: Timestamp) -> Result<(), Unavailable> {
            self.forgotten.lock().expect("no panic").push(before);
            Ok(())
        }
    }

    fn request() -> RejectedRequest {
        let (webhook_id, at) = (WebhookId::generate(), Timestamp::now());
        RejectedRequest { webhook_id, at, problem: "{}".into() }
    }

    const ACCEPTED: Counts = Counts { accepted: 1, refused: 0, stored: 0, dead: 0 };

    #[tokio::test]
    async fn a_refused_request_whose_count_was_written_before_it_is_written_all_the_same() {
        let (log, request) = (Log::default(), request());
        let mut unwritten = Unwritten::default();
        unwritten.refused.push(request.clone());
        unwritten.write(&log).await;
        assert_eq!(*log.refused.lock().expect("no panic"), [request]);
    }

    #[tokio::test]
    async fn counts_that_cant_be_written_are_written_later_and_once() {
        let log = Log { failures: Mutex::new(2), ..Log::default() };
        let (id, mut unwritten) = (WebhookId::generate(), Unwritten::default());
        unwritten.refused.push(request());
        for _ in 0..4 {
            unwritten.count(id, ACCEPTED);
            unwritten.write(&log).await;
        }
        let three = Counts { accepted: 3, ..Counts::default() };
        assert_eq!(*log.counts.lock().expect("no panic"), [(id, three), (id, ACCEPTED)]);
        assert_eq!(*log.refused.lock().expect("no panic"), []);
    }

    #[tokio::test]
    async fn what_is_older_than_thirty_days_is_forgotten_once_in_each_span() {
        let (log, mut forgot_in) = (Log::default(), None);
        let instant = |text: &str| Timestamp::parse(text).expect(text).timestamp;
        for now in ["2024-08-31T11:30:00Z", "2024-08-31T11:39:59Z", "2024-08-31T11:40:01Z"] {
            forget_old(&log, &mut forgot_in, instant(now)).await;
        }
        let expected = ["2024-08-01T11:30:00Z", "2024-08-01T11:40:01Z"].map(instant);
        assert_eq!(*log.forgotten.lock().expect("no panic"), expected);
    }

    /// A writer of what the test counts.
    fn writer(log: &Arc<Log>) -> (TrafficWriter, impl Fn(WebhookId)) {
        let counting = Arc::new(Mutex::new(Vec::new()));
        let counted = counting.clone();
        let writer = TrafficWriter::start(log.clone(), move |unwritten| {
            let counted = take(&mut *counted.lock().expect("no panic"));
            counted.into_iter().for_each(|id| unwritten.count(id, ACCEPTED));
        });
        (writer, move |id| counting.lock().expect("no panic").push(id))
    }

    #[tokio::test]
    async fn what_was_counted_before_the_end_is_written_when_it_has_ended() {
        let (log, id) = (Arc::new(Log::default()), WebhookId::generate());
        let (writer, count) = writer(&log);
        count(id);
        writer.finish().await;
        assert_eq!(*log.counts.lock().expect("no panic"), [(id, ACCEPTED)]);
    }

    #[tokio::test]
    async fn a_log_that_never_answers_holds_no_end_up() {
        let log = Arc::new(Log { hangs: true, ..Log::default() });
        let (writer, count) = writer(&log);
        count(WebhookId::generate());
        let began = std::time::Instant::now();
        writer.finish().await;
        assert!(began.elapsed() < WRITE_TIMEOUT, "{:?}", began.elapsed());
    }
}
