//! The queue: every confirmed message is delivered until it is settled.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trailpad_common::queue::{
    Delivery, Depths, Destination, MessageKind, PublishError, Queue, QueueBackend, Source,
    Subscription,
};
use trailpad_common::runtime::lifecycle::Health;
use trailpad_engines::rabbitmq::RabbitBackend;
use trailpad_tests::servers::shared;
use trailpad_tests::wait_until;
use uuid::Uuid;

use super::sqlite;

const DELAY: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(20);

/// Runs each test once on every queue engine. A test is a function that takes a [`QueueEngine`].
macro_rules! on_every_queue {
    ($($test:ident,)+) => {$(
        mod $test {
            #[tokio::test]
            async fn rabbitmq() {
                super::$test(super::QueueEngine::rabbitmq().await).await;
            }

            #[tokio::test]
            async fn sqlite() {
                super::$test(super::QueueEngine::sqlite().await).await;
            }
        }
    )+};
}

/// An empty queue that is connected.
struct QueueEngine {
    queue: Arc<dyn Queue>,
    /// The data directory of SQLite; dropping it deletes the files.
    _directory: Option<TempDir>,
}

impl QueueEngine {
    async fn rabbitmq() -> Self {
        let name = format!("trailpad_conformance_{}", Uuid::now_v7().simple());
        let backend = RabbitBackend::new(&shared().await.amqp_url, &name);
        Self::connected(backend.expect("the AMQP URL should be valid"), None).await
    }

    async fn sqlite() -> Self {
        let (directory, backend) = sqlite().await;
        Self::connected(backend, Some(directory)).await
    }

    async fn connected(backend: impl QueueBackend, _directory: Option<TempDir>) -> Self {
        let queue = backend.queue("conformance", &[DELAY]).expect("the queue should open");
        for mut health in [queue.publish_health(), queue.consume_health()] {
            let up = health.wait_for(|health| *health == Health::Up).await;
            up.expect("the queue should be reachable");
        }
        Self { queue, _directory }
    }
}

impl Deref for QueueEngine {
    type Target = dyn Queue;

    fn deref(&self) -> &Self::Target {
        &*self.queue
    }
}

async fn publish(queue: &dyn Queue, to: Destination, body: &str) {
    let published = queue.publisher().publish(to, MessageKind::Activities, body.as_bytes()).await;
    published.expect("the message should be confirmed");
}

async fn subscribe(queue: &dyn Queue, source: Source, prefetch: u16) -> Box<dyn Subscription> {
    queue.subscribe(source, prefetch).await.expect("subscribing should succeed")
}

async fn next(subscription: &mut dyn Subscription) -> Delivery {
    let next = tokio::time::timeout(DEADLINE, subscription.next()).await;
    next.expect("a message should arrive in time")
        .expect("the connection should hold")
        .expect("the subscription should not end")
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.body.clone()).expect("the body should be UTF-8")
}

on_every_queue! {
    a_confirmed_message_is_delivered_with_its_kind_and_bytes,
    a_requeued_message_is_delivered_again,
    unsettled_messages_are_delivered_again_after_their_subscription_ends,
    a_retry_is_delivered_after_its_delay_and_not_before,
    dead_letters_go_to_a_separate_queue,
    a_cancelled_subscription_returns_its_prefetched_messages_and_ends,
    at_most_the_prefetch_is_unacknowledged,
    the_prefetch_of_a_running_subscription_shrinks_and_grows,
    a_subscription_that_is_cancelled_while_its_prefetch_changes_loses_nothing,
    depths_count_the_waiting_messages_of_each_queue,
}

async fn a_confirmed_message_is_delivered_with_its_kind_and_bytes(queue: QueueEngine) {
    let mut publisher = queue.publisher();
    let body = b"\x00\xff any bytes";
    for kind in [MessageKind::Activities, MessageKind::DeadLetters, MessageKind::Unreadable] {
        publisher
            .publish(Destination::Activities, kind, body)
            .await
            .expect("the message should be confirmed");
    }
    let mut subscription = subscribe(&*queue, Source::Activities, 10).await;
    for kind in [MessageKind::Activities, MessageKind::DeadLetters, MessageKind::Unreadable] {
        let delivery = next(&mut *subscription).await;
        assert_eq!((delivery.kind, delivery.body.as_slice()), (kind, body.as_slice()));
        assert_eq!(delivery.redeliveries, 0);
        delivery.ack().await;
    }
}

async fn a_requeued_message_is_delivered_again(queue: QueueEngine) {
    publish(&*queue, Destination::Activities, "again").await;
    let mut subscription = subscribe(&*queue, Source::Activities, 1).await;
    next(&mut *subscription).await.requeue().await;
    let delivery = next(&mut *subscription).await;
    assert_eq!(text(&delivery), "again");
    delivery.ack().await;
}

async fn unsettled_messages_are_delivered_again_after_their_subscription_ends(queue: QueueEngine) {
    publish(&*queue, Destination::Activities, "unsettled").await;
    for round in 0..3 {
        let mut subscription = subscribe(&*queue, Source::Activities, 1).await;
        let delivery = next(&mut *subscription).await;
        assert_eq!(text(&delivery), "unsettled", "round {round}");
        // As a worker that is killed: neither settled nor dropped.
        std::mem::forget(delivery);
    }
}

async fn a_retry_is_delivered_after_its_delay_and_not_before(queue: QueueEngine) {
    let mut subscription = subscribe(&*queue, Source::Activities, 10).await;
    let began = Instant::now();
    publish(&*queue, Destination::Retry(DELAY), "later").await;
    publish(&*queue, Destination::Activities, "now").await;
    let first = next(&mut *subscription).await;
    let second = next(&mut *subscription).await;
    assert_eq!((text(&first), text(&second)), ("now".into(), "later".into()));
    assert!(began.elapsed() >= DELAY, "{:?}", began.elapsed());
    first.ack().await;
    second.ack().await;
}

async fn dead_letters_go_to_a_separate_queue(queue: QueueEngine) {
    publish(&*queue, Destination::Dead, "dead").await;
    publish(&*queue, Destination::Activities, "alive").await;
    let mut dead = subscribe(&*queue, Source::Dead, 10).await;
    let delivery = next(&mut *dead).await;
    assert_eq!(text(&delivery), "dead");
    delivery.ack().await;
    assert!(dead.next_ready().is_none());
}

#[tokio::test]
async fn a_message_to_a_queue_that_does_not_exist_is_never_confirmed() {
    // RabbitMQ only: the files of SQLite have no queue that could be missing.
    let queue = QueueEngine::rabbitmq().await;
    let nowhere = Destination::Retry(Duration::from_secs(77));
    let published = queue.publisher().publish(nowhere, MessageKind::Activities, b"x").await;
    assert!(matches!(published, Err(PublishError::NotAccepted(_))), "{published:?}");
}

async fn a_cancelled_subscription_returns_its_prefetched_messages_and_ends(queue: QueueEngine) {
    for body in ["a", "b", "c"] {
        publish(&*queue, Destination::Activities, body).await;
    }
    let mut subscription = subscribe(&*queue, Source::Activities, 10).await;
    let mut seen = BTreeSet::new();
    let first = next(&mut *subscription).await;
    seen.insert(text(&first));
    first.ack().await;
    subscription.cancel().await;
    while let Some(delivery) = subscription.next().await.expect("the connection should hold") {
        seen.insert(text(&delivery));
        delivery.ack().await;
    }
    assert!(subscription.next().await.expect("the connection should hold").is_none());
    // The next subscription delivers the rest.
    let mut subscription = subscribe(&*queue, Source::Activities, 10).await;
    while seen.len() < 3 {
        let delivery = next(&mut *subscription).await;
        seen.insert(text(&delivery));
        delivery.ack().await;
    }
}

async fn at_most_the_prefetch_is_unacknowledged(queue: QueueEngine) {
    for body in ["a", "b", "c"] {
        publish(&*queue, Destination::Activities, body).await;
    }
    let mut subscription = subscribe(&*queue, Source::Activities, 2).await;
    let a = next(&mut *subscription).await;
    let b = next(&mut *subscription).await;
    let third = tokio::time::timeout(Duration::from_millis(300), subscription.next()).await;
    assert!(third.is_err(), "two are unacknowledged");
    a.ack().await;
    next(&mut *subscription).await.ack().await;
    b.ack().await;
}

/// Waits a short time for the next message.
async fn soon(subscription: &mut dyn Subscription) -> Option<Delivery> {
    let next = tokio::time::timeout(Duration::from_millis(300), subscription.next()).await;
    next.ok()?.expect("the connection should hold")
}

async fn the_prefetch_of_a_running_subscription_shrinks_and_grows(queue: QueueEngine) {
    let all: BTreeSet<String> = (0..20).map(|at| format!("message {at}")).collect();
    for body in &all {
        publish(&*queue, Destination::Activities, body).await;
    }
    let mut seen = Vec::new();
    let mut settle = async |delivery: Delivery| {
        assert_eq!(delivery.redeliveries, 0);
        seen.push(text(&delivery));
        delivery.ack().await;
    };
    let mut subscription = subscribe(&*queue, Source::Activities, 5).await;
    let mut held = vec![next(&mut *subscription).await, next(&mut *subscription).await];

    subscription.set_prefetch(2).await;
    while let Some(received_before) = soon(&mut *subscription).await {
        held.push(received_before);
    }
    assert!(held.len() <= 5, "{} of at most 5", held.len());
    while held.len() > 1 {
        settle(held.remove(0)).await;
    }
    held.push(next(&mut *subscription).await);
    while let Some(delivery) = soon(&mut *subscription).await {
        held.push(delivery);
    }
    assert!(held.len() <= 3, "two, and one of the former window: {}", held.len());

    subscription.set_prefetch(10).await;
    while held.len() < 10 {
        held.push(next(&mut *subscription).await);
    }
    for delivery in held {
        settle(delivery).await;
    }
    while let Some(delivery) = soon(&mut *subscription).await {
        settle(delivery).await;
    }
    assert_eq!(seen.len(), all.len(), "nothing is delivered twice");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all, "nothing is lost");
}

async fn a_subscription_that_is_cancelled_while_its_prefetch_changes_loses_nothing(
    queue: QueueEngine,
) {
    let all: BTreeSet<String> = (0..20).map(|at| format!("message {at}")).collect();
    for body in &all {
        publish(&*queue, Destination::Activities, body).await;
    }
    let mut seen = BTreeSet::new();
    for micros in [0, 100, 300, 1_000, 3_000, 10_000] {
        let mut subscription = subscribe(&*queue, Source::Activities, 2).await;
        let first = next(&mut *subscription).await;
        subscription.set_prefetch(5).await;
        // The future is dropped, as in a `select!`.
        let pause = Duration::from_micros(micros);
        let dropped = tokio::time::timeout(pause, subscription.next()).await;
        subscription.set_prefetch(3).await;
        subscription.cancel().await;
        let mut held = vec![first];
        held.extend(dropped.ok().and_then(|next| next.expect("the connection should hold")));
        while let Some(delivery) = subscription.next().await.expect("the connection should hold") {
            held.push(delivery);
        }
        for delivery in held {
            seen.insert(text(&delivery));
            delivery.ack().await;
        }
    }
    let mut subscription = subscribe(&*queue, Source::Activities, 20).await;
    while seen.len() < all.len() {
        let delivery = next(&mut *subscription).await;
        seen.insert(text(&delivery));
        delivery.ack().await;
    }
    assert_eq!(seen, all);
}

async fn depths_count_the_waiting_messages_of_each_queue(queue: QueueEngine) {
    for to in [Destination::Activities, Destination::Activities, Destination::Dead] {
        publish(&*queue, to, "body").await;
    }
    let depths = async || queue.depths().await.expect("reading the depths should succeed");
    let wanted = Depths { activities: 2, retry: 0, dead: 1 };
    wait_until("the depths are right", DEADLINE, depths, |depths| *depths == wanted).await;
    publish(&*queue, Destination::Retry(DELAY), "body").await;
    let sum = |depths: &Depths| depths.activities + depths.retry;
    wait_until("the retry is counted", DEADLINE, depths, |depths| sum(depths) == 3).await;
}
