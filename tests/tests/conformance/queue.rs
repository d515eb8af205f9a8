//! The queue: what is confirmed is delivered until it is settled.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trailpad_common::queue::{
    Delivery, Depths, Destination, MessageKind, PublishError, Queue, Source, Subscription,
};
use trailpad_common::runtime::lifecycle::Health;
use trailpad_engines::rabbitmq::RabbitQueue;
use trailpad_engines::sqlite::SqliteQueue;
use trailpad_tests::servers::shared;
use trailpad_tests::wait_until;
use uuid::Uuid;

use super::data_dir;

const DELAY: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(20);

/// A queue engine, empty and reachable.
struct QueueEngine {
    queue: Box<dyn Queue>,
    /// Holds the data directory of an embedded one.
    _directory: Option<TempDir>,
}

impl Deref for QueueEngine {
    type Target = dyn Queue;

    fn deref(&self) -> &Self::Target {
        &*self.queue
    }
}

/// Every queue engine there is.
async fn queues() -> Vec<QueueEngine> {
    let (directory, data) = data_dir();
    let sqlite = Box::new(SqliteQueue::open(&data, 0).expect("a queue"));
    let queues = vec![rabbitmq().await, QueueEngine { queue: sqlite, _directory: Some(directory) }];
    for queue in &queues {
        for mut health in [queue.publish_health(), queue.consume_health()] {
            health.wait_for(|health| *health == Health::Up).await.expect("reachable");
        }
    }
    queues
}

async fn rabbitmq() -> QueueEngine {
    let name = format!("trailpad_conformance_{}", Uuid::now_v7().simple());
    let rabbit = RabbitQueue::new(&shared().await.amqp_url, &name, "conformance", &[DELAY]);
    QueueEngine { queue: Box::new(rabbit.expect("a URL")), _directory: None }
}

async fn publish(queue: &dyn Queue, to: Destination, body: &str) {
    let published = queue.publisher().publish(to, MessageKind::Activities, body.as_bytes()).await;
    published.expect("confirmed");
}

async fn next(subscription: &mut dyn Subscription) -> Delivery {
    let next = tokio::time::timeout(DEADLINE, subscription.next()).await;
    next.expect("in time").expect("the link is there").expect("not cancelled")
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.body.clone()).expect("UTF-8")
}

#[tokio::test]
async fn what_is_confirmed_is_delivered_with_its_kind_and_bytes() {
    for queue in queues().await {
        let mut publisher = queue.publisher();
        let body = b"\x00\xff any bytes";
        for kind in [MessageKind::Activities, MessageKind::DeadLetters, MessageKind::Unreadable] {
            publisher.publish(Destination::Activities, kind, body).await.expect("confirmed");
        }
        let mut subscription = queue.subscribe(Source::Activities, 10).await.expect("subscribed");
        for kind in [MessageKind::Activities, MessageKind::DeadLetters, MessageKind::Unreadable] {
            let delivery = next(&mut *subscription).await;
            assert_eq!((delivery.kind, delivery.body.as_slice()), (kind, body.as_slice()));
            assert_eq!(delivery.redeliveries, 0);
            delivery.ack().await;
        }
    }
}

#[tokio::test]
async fn what_is_handed_back_comes_again_and_is_counted() {
    for queue in queues().await {
        publish(&*queue, Destination::Activities, "again").await;
        let mut subscription = queue.subscribe(Source::Activities, 1).await.expect("subscribed");
        next(&mut *subscription).await.requeue().await;
        let delivery = next(&mut *subscription).await;
        assert_eq!(text(&delivery), "again");
        delivery.ack().await;
    }
}

#[tokio::test]
async fn what_is_unsettled_when_a_subscription_ends_comes_again() {
    for queue in queues().await {
        publish(&*queue, Destination::Activities, "unsettled").await;
        for round in 0..3 {
            let mut subscription =
                queue.subscribe(Source::Activities, 1).await.expect("subscribed");
            let delivery = next(&mut *subscription).await;
            assert_eq!(text(&delivery), "unsettled", "round {round}");
            // As a worker that is killed: neither settled nor dropped.
            std::mem::forget(delivery);
        }
    }
}

#[tokio::test]
async fn a_retry_comes_back_after_its_delay_and_not_before() {
    for queue in queues().await {
        let mut subscription = queue.subscribe(Source::Activities, 10).await.expect("subscribed");
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
}

#[tokio::test]
async fn dead_letters_have_a_queue_of_their_own() {
    for queue in queues().await {
        publish(&*queue, Destination::Dead, "dead").await;
        publish(&*queue, Destination::Activities, "alive").await;
        let mut dead = queue.subscribe(Source::Dead, 10).await.expect("subscribed");
        let delivery = next(&mut *dead).await;
        assert_eq!(text(&delivery), "dead");
        delivery.ack().await;
        assert!(dead.next_ready().is_none());
    }
}

#[tokio::test]
async fn a_message_to_a_queue_that_does_not_exist_is_never_confirmed() {
    // A file has no queues that could be missing.
    let queue = rabbitmq().await;
    let mut health = queue.publish_health();
    health.wait_for(|health| *health == Health::Up).await.expect("reachable");
    let nowhere = Destination::Retry(Duration::from_secs(77));
    let published = queue.publisher().publish(nowhere, MessageKind::Activities, b"x").await;
    assert!(matches!(published, Err(PublishError::NotAccepted(_))), "{published:?}");
}

#[tokio::test]
async fn a_cancelled_subscription_gives_what_had_come_and_ends() {
    for queue in queues().await {
        for body in ["a", "b", "c"] {
            publish(&*queue, Destination::Activities, body).await;
        }
        let mut subscription = queue.subscribe(Source::Activities, 10).await.expect("subscribed");
        let mut seen = BTreeSet::new();
        let first = next(&mut *subscription).await;
        seen.insert(text(&first));
        first.ack().await;
        subscription.cancel().await;
        while let Some(delivery) = subscription.next().await.expect("asked to end") {
            seen.insert(text(&delivery));
            delivery.ack().await;
        }
        assert!(subscription.next().await.expect("still ended").is_none());
        // What had not come yet is there for the next.
        let mut subscription = queue.subscribe(Source::Activities, 10).await.expect("subscribed");
        while seen.len() < 3 {
            let delivery = next(&mut *subscription).await;
            seen.insert(text(&delivery));
            delivery.ack().await;
        }
    }
}

#[tokio::test]
async fn no_more_than_the_prefetch_is_in_hand() {
    for queue in queues().await {
        for body in ["a", "b", "c"] {
            publish(&*queue, Destination::Activities, body).await;
        }
        let mut subscription = queue.subscribe(Source::Activities, 2).await.expect("subscribed");
        let (a, b) = (next(&mut *subscription).await, next(&mut *subscription).await);
        let third = tokio::time::timeout(Duration::from_millis(300), subscription.next()).await;
        assert!(third.is_err(), "two are in hand");
        a.ack().await;
        next(&mut *subscription).await.ack().await;
        b.ack().await;
    }
}

#[tokio::test]
async fn what_waits_is_counted_by_where_it_waits() {
    for queue in queues().await {
        for to in [Destination::Activities, Destination::Activities, Destination::Dead] {
            publish(&*queue, to, "body").await;
        }
        let depths = async || queue.depths().await.expect("reachable");
        let wanted = Depths { activities: 2, retry: 0, dead: 1 };
        wait_until("the depths", DEADLINE, depths, |depths| *depths == wanted).await;
        publish(&*queue, Destination::Retry(DELAY), "body").await;
        let sum = |depths: &Depths| depths.activities + depths.retry;
        wait_until("one more", DEADLINE, depths, |depths| sum(depths) == 3).await;
    }
}
