//! A store for the tests of this crate, with outcomes that depend on titles.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use trailpad_common::activity::{Activity, Handling, Limits};
use trailpad_common::failure::Unavailable;
use trailpad_common::id::{ActivityId, MemberId, ProjectId, WebhookId};
use trailpad_common::queue::envelope::Envelope;
use trailpad_common::runtime::trace::Tracer;
use trailpad_common::store::{
    ClaimedRetry, DeadLetter, Inserted, MemberQuery, NewActivity, Resolution, RetryUsage, Store,
    StoreError, Stored, WaitingRetry,
};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::retry_room::RetryRoom;
use crate::settings::Settings;
use crate::storer::Storer;
use crate::traffic::TrafficCounters;

/// A batch with the title "slow" takes too long, with "unavailable" it finds no store, and with
/// "panics" it panics.
#[derive(Default)]
pub struct ScriptedStore {
    pub statements: Mutex<usize>,
    pub stored: Mutex<Vec<u128>>,
    pub retries: Mutex<Vec<WaitingRetry>>,
    pub dead: Mutex<Vec<DeadLetter>>,
    /// For each trial, the number of earlier ones that did not end.
    pub unended: u32,
}

impl ScriptedStore {
    pub fn statements(&self) -> usize {
        *self.statements.lock().expect("the lock should not be poisoned")
    }

    pub fn stored(&self) -> Vec<u128> {
        self.stored.lock().expect("the lock should not be poisoned").clone()
    }
}

#[async_trait]
impl Store for ScriptedStore {
    async fn resolve(
        &self,
        queries: &[MemberQuery],
    ) -> Result<Vec<Option<Resolution>>, Unavailable> {
        let creator = Resolution {
            project_id: ProjectId::from(Uuid::nil()),
            creator_id: MemberId::from(Uuid::nil()),
            member: None,
        };
        Ok(vec![Some(creator); queries.len()])
    }

    async fn insert(&self, batch: &[NewActivity<'_>], _: bool) -> Result<Stored, StoreError> {
        *self.statements.lock().expect("the lock should not be poisoned") += 1;
        let has = |title: &str| batch.iter().any(|new| new.activity.title == title);
        assert!(!has("panics"), "the store panics");
        if has("unavailable") {
            return Err(Unavailable("connection refused".into()).into());
        }
        if has("slow") {
            return Err(StoreError::TooSlow("30 s".into()));
        }
        let ids = batch.iter().map(|new| new.id.uuid().as_u128());
        self.stored.lock().expect("the lock should not be poisoned").extend(ids);
        let inserted = Inserted { stored: batch.len() as u64, ..Inserted::default() };
        Ok(Stored { inserted, refused: Vec::new() })
    }

    async fn record_failures(
        &self,
        retries: &[WaitingRetry],
        dead: &[DeadLetter],
    ) -> Result<(), Unavailable> {
        self.retries.lock().expect("the lock should not be poisoned").extend_from_slice(retries);
        self.dead.lock().expect("the lock should not be poisoned").extend_from_slice(dead);
        Ok(())
    }

    async fn claim_retries(&self, _: u32, _: Duration) -> Result<Vec<ClaimedRetry>, Unavailable> {
        Ok(Vec::new())
    }

    async fn release_retries(&self, _: &[ActivityId]) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn retry_usage(&self) -> Result<RetryUsage, Unavailable> {
        Ok(RetryUsage::default())
    }

    async fn begin_trial(&self, _: ActivityId) -> Result<u32, Unavailable> {
        Ok(self.unended)
    }

    async fn end_trial(&self, _: ActivityId) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn probe(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn open_dead_letters(&self, _: u32) -> Result<u64, Unavailable> {
        Ok(0)
    }
}

pub const ORDINARY: &str = r#"{"title":"T","startTime":"2024-08-03T11:30:00Z"}"#;

pub fn envelope(id: u128, activity: &'static str) -> Envelope<'static> {
    Envelope {
        id: ActivityId::from(Uuid::from_u128(id)),
        webhook_id: WebhookId::from(Uuid::nil()),
        received_at: Timestamp::from_unix_micros(0),
        attempt: 1,
        traceparent: None,
        activity,
    }
}

pub fn storer(store: Arc<ScriptedStore>) -> Storer {
    let metrics = Metrics::register(&prometheus::Registry::new());
    Storer {
        store,
        settings: Arc::new(Settings::default()),
        metrics: metrics.expect("registering metrics in a new registry should succeed"),
        tracer: Tracer::default(),
        traffic_counters: TrafficCounters::default(),
        retry_room: RetryRoom::default(),
    }
}

/// Activities with the ids 0 to `len`, with the title of `special` at an index.
pub fn batch(len: u128, special: &[(usize, &'static str)]) -> Vec<NewActivity<'static>> {
    let activity = Activity::parse(ORDINARY.as_bytes(), Handling::Lenient, &Limits::NONE)
        .expect("the activity should be valid")
        .activity;
    let mut batch: Vec<_> = (0..len)
        .map(|id| NewActivity {
            id: Uuid::from_u128(id).into(),
            webhook_id: WebhookId::from(Uuid::nil()),
            project_id: ProjectId::from(Uuid::nil()),
            member_id: MemberId::from(Uuid::nil()),
            received_at: Timestamp::from_unix_micros(0),
            activity: activity.clone(),
        })
        .collect();
    for (at, title) in special {
        batch[*at].activity.title = (*title).into();
    }
    batch
}
