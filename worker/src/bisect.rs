//! Stores a batch that takes longer than a statement may: in halves, so that one slow activity does
//! not keep the others from being stored.

use std::ops::Range;

use trailpad_common::failure::Unavailable;
use trailpad_common::store::{Inserted, NewActivity, Refused, Store, StoreError, Stored};

/// # Errors
/// The store is unavailable. A part of the batch may be stored; storing it again is harmless.
pub async fn insert(
    store: &dyn Store,
    batch: &[NewActivity<'_>],
    may_be_retries: bool,
) -> Result<Stored, Unavailable> {
    let mut outcome = Stored::default();
    let mut open = Vec::from([Range { start: 0, end: batch.len() }]);
    while let Some(range) = open.pop() {
        match store.insert(&batch[range.clone()], may_be_retries).await {
            Ok(stored) => {
                outcome.inserted = sum(outcome.inserted, stored.inserted);
                outcome.refused.extend(stored.refused);
            }
            Err(StoreError::TooSlow(error)) => match &batch[range.clone()] {
                [] => {}
                [one] => outcome.refused.push(Refused { id: one.id, is_permanent: false, error }),
                _ => {
                    let middle = range.start + range.len() / 2;
                    open.extend([middle..range.end, range.start..middle]);
                }
            },
            Err(StoreError::Unavailable(unavailable)) => return Err(unavailable),
        }
    }
    Ok(outcome)
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
    use super::*;
    use crate::testing::{ScriptedStore, batch};

    #[tokio::test]
    async fn a_batch_that_is_fast_enough_takes_one_statement() {
        let store = ScriptedStore::default();
        let stored = insert(&store, &batch(500, &[]), false).await;
        let stored = stored.expect("the store should be available");
        assert_eq!((stored.inserted.stored, stored.refused.len()), (500, 0));
        assert_eq!(store.statements(), 1);
    }

    #[tokio::test]
    async fn one_slow_activity_is_found_in_few_statements_and_the_others_are_stored_once() {
        let store = ScriptedStore::default();
        let stored = insert(&store, &batch(500, &[(123, "slow")]), false).await;
        let stored = stored.expect("the store should be available");
        let refused: Vec<u128> =
            stored.refused.iter().map(|refused| refused.id.uuid().as_u128()).collect();
        assert_eq!(refused, [123]);
        assert!(!stored.refused[0].is_permanent);
        assert_eq!(store.stored(), (0..500).filter(|id| *id != 123).collect::<Vec<_>>());
        assert!(store.statements() <= 2 * 9 + 1);
    }

    #[tokio::test]
    async fn several_slow_activities_are_all_found() {
        let store = ScriptedStore::default();
        let slow = [(0, "slow"), (3, "slow"), (6, "slow")];
        let stored = insert(&store, &batch(7, &slow), false).await;
        let stored = stored.expect("the store should be available");
        assert_eq!((stored.inserted.stored, stored.refused.len()), (4, 3));
    }

    #[tokio::test]
    async fn a_store_that_becomes_unavailable_midway_fails_the_batch() {
        let store = ScriptedStore::default();
        let error = insert(&store, &batch(4, &[(0, "slow"), (3, "unavailable")]), false).await;
        assert_eq!(error, Err(Unavailable("connection refused".into())));
    }
}
