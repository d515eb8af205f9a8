//! Stores a batch that may contain activities the store refuses. The batch is bisected, so that all
//! other activities are stored.

use std::ops::Range;

use trailpad_common::failure::Unavailable;
use trailpad_common::store::{Inserted, NewActivity, Store, StoreError};

#[derive(Debug, Default, PartialEq)]
pub struct Bisected {
    pub inserted: Inserted,
    /// Index in the batch and the store's error, for each refused activity.
    pub refused: Vec<(usize, String)>,
}

/// Stores a batch in as few statements as its refused activities allow.
///
/// # Errors
/// The store is unavailable. A part of the batch may be stored; storing it again is harmless.
pub async fn insert(store: &dyn Store, batch: &[NewActivity<'_>]) -> Result<Bisected, Unavailable> {
    let mut bisected = Bisected::default();
    let mut open = Vec::from([Range { start: 0, end: batch.len() }]);
    while let Some(range) = open.pop() {
        if range.is_empty() {
            continue;
        }
        match store.insert(&batch[range.clone()]).await {
            Ok(inserted) => bisected.inserted = sum(bisected.inserted, inserted),
            Err(StoreError::Refused(error)) if range.len() == 1 => {
                bisected.refused.push((range.start, error));
            }
            Err(StoreError::Refused(_)) => {
                let middle = range.start + range.len() / 2;
                open.extend([middle..range.end, range.start..middle]);
            }
            Err(StoreError::Unavailable(unavailable)) => return Err(unavailable),
        }
    }
    Ok(bisected)
}

fn sum(a: Inserted, b: Inserted) -> Inserted {
    Inserted {
        stored: a.stored + b.stored,
        replaced: a.replaced + b.replaced,
        duplicates: a.duplicates + b.duplicates,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use trailpad_common::activity::{Activity, Handling, Limits};
    use trailpad_common::id::{MemberId, ProjectId, WebhookId};
    use trailpad_common::store::{DeadLetter, MemberQuery, Resolution};
    use trailpad_common::timestamp::Timestamp;
    use uuid::Uuid;

    use super::*;

    /// Refuses a batch that contains the title "refused", and is unavailable for the title
    /// "unavailable". Records its inserts.
    #[derive(Default)]
    struct SelectiveStore {
        statements: Mutex<usize>,
        stored: Mutex<Vec<u128>>,
    }

    #[async_trait]
    impl Store for SelectiveStore {
        async fn resolve(&self, _: &[MemberQuery]) -> Result<Vec<Option<Resolution>>, StoreError> {
            Ok(vec![])
        }

        async fn insert(&self, batch: &[NewActivity<'_>]) -> Result<Inserted, StoreError> {
            *self.statements.lock().expect("the lock should not be poisoned") += 1;
            if batch.iter().any(|new| new.activity.title == "unavailable") {
                return Err(Unavailable("connection refused".into()).into());
            }
            if batch.iter().any(|new| new.activity.title == "refused") {
                return Err(StoreError::Refused("check violated".into()));
            }
            self.stored
                .lock()
                .expect("the lock should not be poisoned")
                .extend(batch.iter().map(|new| new.id.uuid().as_u128()));
            Ok(Inserted { stored: batch.len() as u64, ..Inserted::default() })
        }

        async fn archive_dead_letters(&self, _: &[DeadLetter]) -> Result<(), StoreError> {
            Ok(())
        }

        async fn open_dead_letters(&self, _: u32) -> Result<u64, StoreError> {
            Ok(0)
        }
    }

    fn batch(len: u128, special: &[(usize, &'static str)]) -> Vec<NewActivity<'static>> {
        let body = br#"{"title":"T","startTime":"2024-08-03T11:30:00Z"}"#;
        let activity = Activity::parse(body, Handling::Lenient, &Limits::NONE)
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

    #[tokio::test]
    async fn a_batch_without_refused_activities_takes_one_statement() {
        let store = SelectiveStore::default();
        let bisected =
            insert(&store, &batch(500, &[])).await.expect("the store should be available");
        assert_eq!((bisected.inserted.stored, bisected.refused.len()), (500, 0));
        assert_eq!(*store.statements.lock().expect("the lock should not be poisoned"), 1);
    }

    #[tokio::test]
    async fn one_refused_activity_is_found_in_few_statements_and_the_others_are_stored_once() {
        let store = SelectiveStore::default();
        let bisected = insert(&store, &batch(500, &[(123, "refused")]))
            .await
            .expect("the store should be available");
        assert_eq!(bisected.refused, [(123, "check violated".to_owned())]);
        let stored = store.stored.lock().expect("the lock should not be poisoned");
        assert_eq!(*stored, (0..500).filter(|id| *id != 123).collect::<Vec<_>>());
        assert!(*store.statements.lock().expect("the lock should not be poisoned") <= 2 * 9 + 1);
    }

    #[tokio::test]
    async fn several_refused_activities_are_all_found() {
        let store = SelectiveStore::default();
        let bisected = insert(&store, &batch(7, &[(0, "refused"), (3, "refused"), (6, "refused")]))
            .await
            .expect("the store should be available");
        assert_eq!(bisected.refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 3, 6]);
        assert_eq!(bisected.inserted.stored, 4);
    }

    #[tokio::test]
    async fn a_store_that_becomes_unavailable_midway_fails_the_batch() {
        let store = SelectiveStore::default();
        let error = insert(&store, &batch(4, &[(0, "refused"), (3, "unavailable")])).await;
        assert_eq!(error, Err(Unavailable("connection refused".into())));
    }
}
