//! A seeded store, and builders for activities and dead letters.

use trailpad_common::activity::{Activity, Handling, Limits, OnDuplicate};
use trailpad_common::admin::{ActivityFilter, StoredActivity};
use trailpad_common::failure::Reason;
use trailpad_common::id::WebhookId;
use trailpad_common::store::{DeadLetter, Inserted, MemberQuery, NewActivity, Resolution};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{StoreEngine, email};

/// A store with one webhook and the webhook's resolution.
pub struct Fixture {
    pub engine: StoreEngine,
    pub webhook_id: WebhookId,
    pub creator: Resolution,
}

impl Fixture {
    pub async fn on(engine: StoreEngine) -> Self {
        engine.seed().await;
        let webhook_id = engine.webhook("W").await.0.id;
        let query = MemberQuery { webhook_id, email: None };
        let mut resolved =
            engine.store.resolve(&[query]).await.expect("resolving a member should succeed");
        let creator = resolved.remove(0).expect("the webhook should be known");
        Self { engine, webhook_id, creator }
    }

    /// An activity titled by its id, without a key, received at second 1. [`Builder`] changes it.
    pub fn activity(&self, id: u128) -> NewActivity<'static> {
        let body = br#"{"title":"T","startTime":"2024-08-03T11:30:00Z"}"#;
        let parsed = Activity::parse(body, Handling::Lenient, &Limits::NONE);
        let mut activity = parsed.expect("the activity should be valid").activity;
        activity.title = id.to_string().into();
        NewActivity {
            id: Uuid::from_u128(id).into(),
            webhook_id: self.webhook_id,
            project_id: self.creator.project_id,
            member_id: self.creator.creator_id,
            received_at: second(1),
            activity,
        }
    }

    /// A dead letter of the webhook, received at second 1, dead at second 50. [`Builder`] and
    /// [`DeadLetterBuilder`] change it.
    pub fn dead_letter(&self, id: u128) -> DeadLetter {
        DeadLetter {
            id: Uuid::from_u128(id).into(),
            webhook_id: Some(self.webhook_id),
            external_id: None,
            replaces: false,
            member_email: Some(email("jane@example.com")),
            received_at: Some(second(1)),
            traceparent: None,
            attempts: 4,
            reason: Reason::UnknownMember,
            error: "unknown".into(),
            payload: b"\xff\x00 any bytes".to_vec(),
            dead_at: second(50),
        }
    }

    pub async fn insert(&self, batch: &[NewActivity<'_>]) -> Inserted {
        let stored = self.engine.store.insert(batch, false).await;
        let stored = stored.expect("storing activities should succeed");
        assert_eq!(stored.refused, [], "no activity should be refused");
        stored.inserted
    }

    pub async fn rows(&self) -> Vec<StoredActivity> {
        let filter = ActivityFilter { limit: 1_000, ..ActivityFilter::default() };
        let listed = self.engine.admin.activities(&filter).await;
        listed.expect("listing activities should succeed")
    }

    /// The sorted titles of all rows: the ids of the activities whose content they hold.
    pub async fn titles(&self) -> Vec<String> {
        let mut titles: Vec<_> = self.rows().await.into_iter().map(|row| row.title).collect();
        titles.sort();
        titles
    }
}

/// `fixture.activity(1).key("k").received_at(5).replacing()`
pub trait Builder {
    /// Sets the externalId.
    fn key(self, key: &str) -> Self;
    fn received_at(self, at: i64) -> Self;
    /// Sets `onDuplicate: "replace"`.
    fn replacing(self) -> Self;
}

impl Builder for NewActivity<'static> {
    fn key(mut self, key: &str) -> Self {
        self.activity.external_id = Some(key.to_owned().into());
        self
    }

    fn received_at(self, at: i64) -> Self {
        Self { received_at: second(at), ..self }
    }

    fn replacing(mut self) -> Self {
        self.activity.processing.on_duplicate = OnDuplicate::Replace;
        self
    }
}

impl Builder for DeadLetter {
    fn key(self, key: &str) -> Self {
        Self { external_id: Some(key.to_owned()), ..self }
    }

    fn received_at(self, at: i64) -> Self {
        Self { received_at: Some(second(at)), ..self }
    }

    fn replacing(self) -> Self {
        Self { replaces: true, ..self }
    }
}

pub trait DeadLetterBuilder {
    fn died_at(self, at: i64) -> Self;
    /// Removes the fields that are read from a message.
    fn unreadable(self) -> Self;
}

impl DeadLetterBuilder for DeadLetter {
    fn died_at(self, at: i64) -> Self {
        Self { dead_at: second(at), ..self }
    }

    fn unreadable(self) -> Self {
        Self { webhook_id: None, external_id: None, member_email: None, ..self }
    }
}

pub fn second(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}
