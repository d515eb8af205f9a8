use std::collections::VecDeque;

use async_trait::async_trait;
use tokio::sync::{mpsc as channel, oneshot};
use trailpad_common::queue::envelope;

use super::*;
use crate::admission::Admission;

/// A message that was published, and where to say what becomes of it.
type Published = (Vec<u8>, Answer);
type Answer = oneshot::Sender<Result<(), PublishError>>;

/// A publisher that tells the test of each message and does what the test answers.
struct Scripted(channel::UnboundedSender<Published>);

#[async_trait]
impl Publisher for Scripted {
    async fn publish(
        &mut self,
        _to: Destination,
        _kind: MessageKind,
        body: &[u8],
    ) -> Result<(), PublishError> {
        let (answer, answered) = oneshot::channel();
        self.0.send((body.to_vec(), answer)).expect("the test listens");
        answered.await.expect("the test answers")
    }
}

struct Bench {
    commit: GroupCommit,
    published: channel::UnboundedReceiver<Published>,
    admission: Arc<Admission>,
}

fn bench(slots: usize, batch_bytes_max: usize, waiting_max: usize, timeout: Duration) -> Bench {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("fresh registry");
    let (sender, published) = channel::unbounded_channel();
    let publishers = (0..slots).map(|_| Box::new(Scripted(sender.clone())) as Box<dyn Publisher>);
    let commit =
        GroupCommit::start(publishers.collect(), batch_bytes_max, waiting_max, timeout, &metrics);
    Bench { commit, published, admission: Admission::new(1_000, usize::MAX, metrics) }
}

impl Bench {
    fn submit(&self, activity: &'static str) -> tokio::task::JoinHandle<Outcome> {
        let received_at = Timestamp::now();
        let submission = Submission {
            id: ActivityId::received_at(received_at),
            webhook_id: WebhookId::generate(),
            received_at,
            traceparent: None,
            activity: Bytes::from_static(activity.as_bytes()),
            _permit: self.admission.admit().expect("room"),
        };
        let commit = self.commit.clone();
        tokio::spawn(async move { commit.submit(submission).await })
    }

    /// The next message: its activities and how to answer it.
    async fn message(&mut self) -> (VecDeque<String>, Answer) {
        let (body, answer) = self.published.recv().await.expect("a message");
        let read =
            envelope::read(&body).into_iter().map(|e| e.expect("readable").activity.to_owned());
        (read.collect(), answer)
    }
}

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_lone_activity_is_published_at_once() {
    let mut bench = bench(3, 1_000_000, 100, LONG);
    let posted = bench.submit("{}");
    let (activities, answer) = bench.message().await;
    assert_eq!(activities, ["{}"]);
    answer.send(Ok(())).expect("awaited");
    assert_eq!(posted.await.expect("no panic"), Outcome::Accepted);
}

#[tokio::test]
async fn what_waits_while_all_slots_are_busy_shares_the_next_message() {
    let mut bench = bench(1, 1_000_000, 100, LONG);
    let first = bench.submit("1");
    let (_, answer) = bench.message().await;
    let rest: Vec<_> = ["2", "3", "4"].into_iter().map(|activity| bench.submit(activity)).collect();
    tokio::task::yield_now().await;
    answer.send(Ok(())).expect("awaited");
    let (activities, answer) = bench.message().await;
    assert_eq!(activities, ["2", "3", "4"]);
    answer.send(Err(PublishError::Unknown("cut".into()))).expect("awaited");
    assert_eq!(first.await.expect("no panic"), Outcome::Accepted);
    for posted in rest {
        assert_eq!(posted.await.expect("no panic"), Outcome::Unknown);
    }
}

#[tokio::test]
async fn a_message_is_bounded_in_bytes_and_nothing_is_left_behind() {
    let two = 2 * (Envelope::OVERHEAD_BYTES + 1);
    let mut bench = bench(1, two, 100, LONG);
    let posted: Vec<_> = ["1", "2", "3", "4", "5"].into_iter().map(|a| bench.submit(a)).collect();
    tokio::task::yield_now().await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let (activities, answer) = bench.message().await;
        assert!(activities.len() <= 2);
        seen.extend(activities);
        answer.send(Ok(())).expect("awaited");
    }
    assert_eq!(seen, ["1", "2", "3", "4", "5"]);
    for posted in posted {
        assert_eq!(posted.await.expect("no panic"), Outcome::Accepted);
    }
}

#[tokio::test]
async fn a_timeout_tells_whether_the_activity_was_handed_over() {
    let mut bench = bench(1, 1_000_000, 100, Duration::from_millis(300));
    let handed_over = bench.submit("1");
    let (_, answer) = bench.message().await;
    let waiting = bench.submit("2");
    assert_eq!(handed_over.await.expect("no panic"), Outcome::Unknown);
    assert_eq!(waiting.await.expect("no panic"), Outcome::NotAccepted);
    // The slot is still taken: only the confirm frees it, and what was withdrawn is not published.
    let third = bench.submit("3");
    answer.send(Ok(())).expect("the slot still waits");
    let (activities, answer) = bench.message().await;
    assert_eq!(activities, ["3"]);
    answer.send(Ok(())).expect("awaited");
    assert_eq!(third.await.expect("no panic"), Outcome::Accepted);
}

#[tokio::test]
async fn past_the_bound_of_what_may_wait_it_is_refused_at_once() {
    let mut bench = bench(1, 1_000_000, 2, LONG);
    let first = bench.submit("1");
    let (_, answer) = bench.message().await;
    let (_second, _third) = (bench.submit("2"), bench.submit("3"));
    tokio::task::yield_now().await;
    assert_eq!(bench.submit("4").await.expect("no panic"), Outcome::NotAccepted);
    answer.send(Ok(())).expect("awaited");
    assert_eq!(first.await.expect("no panic"), Outcome::Accepted);
}

#[tokio::test]
async fn an_activity_the_queue_never_had_is_not_accepted() {
    let mut bench = bench(1, 1_000_000, 10, LONG);
    let posted = bench.submit("1");
    let (_, answer) = bench.message().await;
    answer.send(Err(PublishError::NotAccepted("away".into()))).expect("awaited");
    assert_eq!(posted.await.expect("no panic"), Outcome::NotAccepted);
}
