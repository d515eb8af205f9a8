//! Storing a batch though something in it is refused: narrowed down by halves, so that a refused
//! activity takes none of its neighbours with it.

use std::ops::Range;

use trailpad_common::failure::Unavailable;
use trailpad_common::store::{Inserted, NewActivity, Store, StoreError};

/// What became of a batch.
#[derive(Debug, Default, PartialEq)]
pub struct Bisected {
    pub inserted: Inserted,
    /// The places of those that the store refused by themselves, and its errors.
    pub refused: Vec<(usize, String)>,
}

/// Stores a batch in as few statements as its refused activities allow.
///
/// # Errors
/// The store is unavailable. A part may be stored already; storing it again is harmless.
pub async fn insert(store: &dyn Store, batch: &[NewActivity<'_>]) -> Result<Bisected, Unavailable> {
    let mut narrowed = Bisected::default();
    let mut open = Vec::from([Range { start: 0, end: batch.len() }]);
    while let Some(range) = open.pop() {
        if range.is_empty() {
            continue;
        }
        match store.insert(&batch[range.clone()]).await {
            Ok(inserted) => narrowed.inserted = sum(narrowed.inserted, inserted),
            Err(StoreError::Refused(error)) if range.len() == 1 => {
                narrowed.refused.push((range.start, error));
            }
            Err(StoreError::Refused(_)) => {
                let middle = range.start + range.len() / 2;
                open.extend([middle..range.end, range.start..middle]);
            }
            Err(StoreError::Unavailable(unavailable)) => return Err(unavailable),
        }
    }
    Ok(narrowed)
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

    /// Refuses every batch with a title that says so, and remembers what it was asked.
    #[derive(Default)]
    struct Picky {
        statements: Mutex<usize>,
        stored: Mutex<Vec<u128>>,
    }

    #[async_trait]
    impl Store for Picky {
        async fn resolve(&self, _: &[MemberQuery]) -> Result<Vec<Option<Resolution>>, StoreError> {
            Ok(vec![])
        }

        async fn insert(&self, batch: &[NewActivity<'_>]) -> Result<Inserted, StoreError> {
            *self.statements.lock().expect("no panic") += 1;
            if batch.iter().any(|new| new.activity.title == "away") {
                return Err(Unavailable("away".into()).into());
            }
            if batch.iter().any(|new| new.activity.title == "refused") {
                return Err(StoreError::Refused("no".into()));
            }
            self.stored
                .lock()
                .expect("no panic")
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
        let activity =
            Activity::parse(body, Handling::Lenient, &Limits::NONE).expect("valid").activity;
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
    async fn a_good_batch_is_one_statement() {
        let store = Picky::default();
        let narrowed = insert(&store, &batch(500, &[])).await.expect("available");
        assert_eq!((narrowed.inserted.stored, narrowed.refused.len()), (500, 0));
        assert_eq!(*store.statements.lock().expect("no panic"), 1);
    }

    #[tokio::test]
    async fn one_refused_activity_is_found_in_few_statements_and_all_others_are_stored_once() {
        let store = Picky::default();
        let narrowed = insert(&store, &batch(500, &[(123, "refused")])).await.expect("available");
        assert_eq!(narrowed.refused, [(123, "no".to_owned())]);
        let stored = store.stored.lock().expect("no panic");
        assert_eq!(*stored, (0..500).filter(|id| *id != 123).collect::<Vec<_>>());
        assert!(*store.statements.lock().expect("no panic") <= 2 * 9 + 1);
    }

    #[tokio::test]
    async fn many_refused_activities_are_all_found() {
        let store = Picky::default();
        let narrowed = insert(&store, &batch(7, &[(0, "refused"), (3, "refused"), (6, "refused")]))
            .await
            .expect("available");
        assert_eq!(narrowed.refused.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 3, 6]);
        assert_eq!(narrowed.inserted.stored, 4);
    }

    #[tokio::test]
    async fn a_store_that_goes_away_half_way_fails_the_whole() {
        let store = Picky::default();
        let error = insert(&store, &batch(4, &[(0, "refused"), (3, "away")])).await;
        assert_eq!(error, Err(Unavailable("away".into())));
    }
}
