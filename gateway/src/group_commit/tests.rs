use std::collections::VecDeque;

use async_trait::async_trait;
use tokio::sync::{mpsc as channel, oneshot};
use tokio::task::JoinHandle;
use trailpad_common::queue::envelope;

use super::*;
use crate::admission::Admission;

/// The body of a published message, and the sender for the result of publishing it.
type Published = (Vec<u8>, Answer);
type Answer = oneshot::Sender<Result<(), PublishError>>;

/// A publisher that passes each message to the test and returns the test's answer.
struct ScriptedPublisher(channel::UnboundedSender<Published>);

#[async_trait]
impl Publisher for ScriptedPublisher {
    async fn publish(
        &mut self,
        _to: Destination,
        _kind: MessageKind,
        body: &[u8],
    ) -> Result<(), PublishError> {
        let (answer, answered) = oneshot::channel();
        self.0.send((body.to_vec(), answer)).expect("the test should be receiving messages");
        answered.await.expect("the test should answer each message")
    }
}

struct Fixture {
    commit: GroupCommit,
    published: channel::UnboundedReceiver<Published>,
    admission: Arc<Admission>,
}

fn fixture(slots: usize, limits: GroupCommitLimits) -> Fixture {
    let metrics = Metrics::register(&prometheus::Registry::new())
        .expect("a new metrics registry should accept every metric");
    let (sender, published) = channel::unbounded_channel();
    let publishers =
        (0..slots).map(|_| Box::new(ScriptedPublisher(sender.clone())) as Box<dyn Publisher>);
    let commit = GroupCommit::start(publishers.collect(), limits, &metrics);
    Fixture { commit, published, admission: Admission::new(1_000, usize::MAX, metrics) }
}

impl Fixture {
    fn submit(&self, activity: &'static str) -> JoinHandle<Outcome> {
        let received_at = Timestamp::now();
        let submission = Submission {
            id: ActivityId::received_at(received_at),
            webhook_id: WebhookId::generate(),
            received_at,
            traceparent: None,
            activity: Bytes::from_static(activity.as_bytes()),
            permit: self.admission.reserve().expect("a request should be below the limit"),
        };
        let commit = self.commit.clone();
        tokio::spawn(async move { commit.submit(submission).await })
    }

    /// The activities of the next message, and the sender for its answer.
    async fn message(&mut self) -> (VecDeque<String>, Answer) {
        let (body, answer) = self.published.recv().await.expect("a message should be published");
        let activities = envelope::read(&body)
            .into_iter()
            .map(|envelope| envelope.expect("the envelope should be readable").activity.to_owned());
        (activities.collect(), answer)
    }
}

fn reply(answer: Answer, result: Result<(), PublishError>) {
    answer.send(result).expect("the slot should be waiting for the answer");
}

async fn outcome(submitted: JoinHandle<Outcome>) -> Outcome {
    submitted.await.expect("the submitting task should not panic")
}

const LIMITS: GroupCommitLimits = GroupCommitLimits {
    batch_bytes_max: 1_000_000,
    waiting_max: 100,
    publish_timeout: Duration::from_secs(3_600),
};

#[tokio::test]
async fn a_single_activity_is_published_at_once() {
    let mut fixture = fixture(3, LIMITS);
    let submitted = fixture.submit("{}");
    let (activities, answer) = fixture.message().await;
    assert_eq!(activities, ["{}"]);
    reply(answer, Ok(()));
    assert_eq!(outcome(submitted).await, Outcome::Accepted);
}

#[tokio::test]
async fn activities_that_wait_while_all_slots_are_busy_share_the_next_message() {
    let mut fixture = fixture(1, LIMITS);
    let first = fixture.submit("1");
    let (_, answer) = fixture.message().await;
    let rest: Vec<_> =
        ["2", "3", "4"].into_iter().map(|activity| fixture.submit(activity)).collect();
    tokio::task::yield_now().await;
    reply(answer, Ok(()));
    let (activities, answer) = fixture.message().await;
    assert_eq!(activities, ["2", "3", "4"]);
    reply(answer, Err(PublishError::Unknown("connection lost".into())));
    assert_eq!(outcome(first).await, Outcome::Accepted);
    for submitted in rest {
        assert_eq!(outcome(submitted).await, Outcome::Unknown);
    }
}

#[tokio::test]
async fn messages_respect_the_size_limit_and_omit_no_activity() {
    let two_activities = 2 * (Envelope::OVERHEAD_BYTES + 1);
    let mut fixture = fixture(1, GroupCommitLimits { batch_bytes_max: two_activities, ..LIMITS });
    let submitted: Vec<_> =
        ["1", "2", "3", "4", "5"].into_iter().map(|a| fixture.submit(a)).collect();
    tokio::task::yield_now().await;
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let (activities, answer) = fixture.message().await;
        assert!(activities.len() <= 2);
        seen.extend(activities);
        reply(answer, Ok(()));
    }
    assert_eq!(seen, ["1", "2", "3", "4", "5"]);
    for submitted in submitted {
        assert_eq!(outcome(submitted).await, Outcome::Accepted);
    }
}

#[tokio::test]
async fn a_timeout_reports_whether_the_activity_was_handed_over() {
    let publish_timeout = Duration::from_millis(300);
    let mut fixture = fixture(1, GroupCommitLimits { publish_timeout, ..LIMITS });
    let handed_over = fixture.submit("1");
    let (_, answer) = fixture.message().await;
    let waiting = fixture.submit("2");
    assert_eq!(outcome(handed_over).await, Outcome::Unknown);
    assert_eq!(outcome(waiting).await, Outcome::NotAccepted);
    // Only the confirm frees the slot, and the withdrawn activity is not published.
    let third = fixture.submit("3");
    reply(answer, Ok(()));
    let (activities, answer) = fixture.message().await;
    assert_eq!(activities, ["3"]);
    reply(answer, Ok(()));
    assert_eq!(outcome(third).await, Outcome::Accepted);
}

#[tokio::test]
async fn activities_past_the_waiting_limit_are_rejected_at_once() {
    let mut fixture = fixture(1, GroupCommitLimits { waiting_max: 2, ..LIMITS });
    let first = fixture.submit("1");
    let (_, answer) = fixture.message().await;
    let _second = fixture.submit("2");
    let _third = fixture.submit("3");
    tokio::task::yield_now().await;
    assert_eq!(outcome(fixture.submit("4")).await, Outcome::NotAccepted);
    reply(answer, Ok(()));
    assert_eq!(outcome(first).await, Outcome::Accepted);
}

#[tokio::test]
async fn an_activity_that_never_reached_the_queue_is_not_accepted() {
    let mut fixture = fixture(1, LIMITS);
    let submitted = fixture.submit("1");
    let (_, answer) = fixture.message().await;
    reply(answer, Err(PublishError::NotAccepted("unavailable".into())));
    assert_eq!(outcome(submitted).await, Outcome::NotAccepted);
}
