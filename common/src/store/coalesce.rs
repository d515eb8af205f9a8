//! Coalesces a batch by key, so that a statement never contains two activities of the same row.
//!
//! The result does not depend on the order of the batch. Among the activities with the same webhook
//! and `externalId`, the newest that replaces gives the row its content; if none replaces, the
//! oldest does. The oldest gives the row its id. A repeated activity counts once.

use std::collections::{HashMap, HashSet};

use crate::activity::OnDuplicate;
use crate::id::{ActivityId, WebhookId};
use crate::store::NewActivity;
use crate::timestamp::Timestamp;

/// A row to insert, or to update if its key exists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoalescedRow<'r, 'a> {
    /// The id of the row if it is new.
    pub id: ActivityId,
    pub content: &'r NewActivity<'a>,
}

/// Coalesces a batch. Returns the rows ordered by key, so that two workers that store the same keys
/// acquire their locks in the same order.
pub fn coalesce<'r, 'a>(batch: &'r [NewActivity<'a>]) -> Vec<CoalescedRow<'r, 'a>> {
    let mut by_age: Vec<&NewActivity<'a>> = batch.iter().collect();
    by_age.sort_unstable_by_key(|new| age(new));
    let mut ids = HashMap::with_capacity(batch.len());
    let mut keys = HashMap::new();
    let mut rows: Vec<CoalescedRow<'r, 'a>> = Vec::with_capacity(batch.len());
    for new in by_age {
        if ids.insert(new.id, ()).is_some() {
            continue;
        }
        let Some(external_id) = new.activity.external_id.as_deref() else {
            rows.push(CoalescedRow { id: new.id, content: new });
            continue;
        };
        let at = *keys.entry((new.webhook_id, external_id)).or_insert(rows.len());
        match rows.get_mut(at) {
            // The order is from old to new: a later activity wins if it replaces, and is ignored if
            // it does not.
            Some(row) if replaces(new) => row.content = new,
            Some(_) => {}
            None => rows.push(CoalescedRow { id: new.id, content: new }),
        }
    }
    rows.sort_unstable_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    rows
}

/// The activities that share a key with a refused content, each as a row of its own, from old to
/// new.
pub fn coalesced_under<'r, 'a>(
    batch: &'r [NewActivity<'a>],
    refused: &[ActivityId],
) -> Vec<CoalescedRow<'r, 'a>> {
    let refused: HashSet<ActivityId> = refused.iter().copied().collect();
    let keys: HashSet<_> =
        batch.iter().filter(|new| refused.contains(&new.id)).filter_map(key).collect();
    let mut others: Vec<&NewActivity<'a>> = batch
        .iter()
        .filter(|new| !refused.contains(&new.id))
        .filter(|new| key(new).is_some_and(|key| keys.contains(&key)))
        .collect();
    others.sort_unstable_by_key(|new| age(new));
    others.into_iter().map(|new| CoalescedRow { id: new.id, content: new }).collect()
}

fn key<'r>(new: &'r NewActivity<'_>) -> Option<(WebhookId, &'r str)> {
    Some((new.webhook_id, new.activity.external_id.as_deref()?))
}

/// `true` if the activity may replace the content of an existing row.
pub fn replaces(new: &NewActivity<'_>) -> bool {
    new.activity.processing.on_duplicate == OnDuplicate::Replace
}

fn age(new: &NewActivity<'_>) -> (Timestamp, ActivityId) {
    (new.received_at, new.id)
}

fn sort_key<'r>(row: &CoalescedRow<'r, '_>) -> (WebhookId, Option<&'r str>, ActivityId) {
    (row.content.webhook_id, row.content.activity.external_id.as_deref(), row.id)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::activity::{Activity, Handling, Limits};
    use crate::id::{MemberId, ProjectId};

    /// An activity received at second `at`; it replaces if `mode` is `R`.
    fn new(id: u128, at: i64, key: Option<&str>, mode: char) -> NewActivity<'static> {
        let body = br#"{"title":"T","startTime":"2024-08-03T11:30:00Z"}"#;
        let mut activity = Activity::parse(body, Handling::Lenient, &Limits::NONE)
            .expect("the activity should be valid")
            .activity;
        activity.external_id = key.map(|key| key.to_owned().into());
        if mode == 'R' {
            activity.processing.on_duplicate = OnDuplicate::Replace;
        }
        NewActivity {
            id: Uuid::from_u128(id).into(),
            webhook_id: Uuid::from_u128(7).into(),
            project_id: ProjectId::from(Uuid::nil()),
            member_id: MemberId::from(Uuid::nil()),
            received_at: Timestamp::from_unix_micros(at * 1_000_000),
            activity,
        }
    }

    /// (row id, content id) of each row.
    fn coalesced(batch: &[NewActivity<'_>]) -> Vec<(u128, u128)> {
        coalesce(batch)
            .iter()
            .map(|row| (row.id.uuid().as_u128(), row.content.id.uuid().as_u128()))
            .collect()
    }

    #[test]
    fn each_activity_without_a_key_is_a_row() {
        assert_eq!(coalesced(&[new(1, 1, None, ' '), new(2, 1, None, 'R')]), [(1, 1), (2, 2)]);
    }

    #[test]
    fn a_repeated_activity_is_one_row() {
        assert_eq!(
            coalesced(&[
                new(1, 1, None, ' '),
                new(1, 1, None, ' '),
                new(2, 2, Some("k"), 'R'),
                new(2, 2, Some("k"), 'R')
            ]),
            [(1, 1), (2, 2)]
        );
    }

    #[test]
    fn the_result_is_the_same_in_every_order() {
        let all = [
            new(1, 1, Some("k"), ' '),
            new(2, 2, Some("k"), 'R'),
            new(3, 3, Some("k"), 'R'),
            new(4, 3, Some("k"), 'R'),
            new(5, 9, Some("k"), ' '),
        ];
        for order in permutations(5) {
            let batch: Vec<_> = order.iter().map(|at| all[*at].clone()).collect();
            assert_eq!(coalesced(&batch), [(1, 4)], "{order:?}");
        }
    }

    #[test]
    fn without_a_replacement_the_oldest_activity_is_the_content() {
        assert_eq!(coalesced(&[new(2, 2, Some("k"), ' '), new(1, 1, Some("k"), ' ')]), [(1, 1)]);
    }

    #[test]
    fn the_activities_under_a_refused_content_get_rows_of_their_own() {
        let batch = [
            new(1, 1, Some("k"), ' '),
            new(2, 2, Some("k"), 'R'),
            new(3, 0, Some("k"), 'R'),
            new(4, 4, Some("other"), ' '),
            new(5, 5, None, ' '),
        ];
        let rows = coalesced_under(&batch, &[batch[1].id, batch[4].id]);
        let ids: Vec<u128> = rows.iter().map(|row| row.id.uuid().as_u128()).collect();
        assert_eq!(ids, [3, 1]);
    }

    #[test]
    fn rows_are_ordered_by_key() {
        let batch = [new(1, 1, Some("b"), ' '), new(2, 2, Some("a"), ' '), new(3, 3, None, ' ')];
        assert_eq!(coalesced(&batch), [(3, 3), (2, 2), (1, 1)]);
    }

    fn permutations(n: usize) -> Vec<Vec<usize>> {
        if n == 0 {
            return vec![vec![]];
        }
        permutations(n - 1)
            .into_iter()
            .flat_map(|shorter| {
                (0..n).map(move |at| {
                    let mut longer = shorter.clone();
                    longer.insert(at, n - 1);
                    longer
                })
            })
            .collect()
    }
}
