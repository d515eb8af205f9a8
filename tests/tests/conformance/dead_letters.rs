//! Dead letters: kept once, found by what they are, marked by who dealt with them.

use trailpad_common::admin::{Action, DeadLetterFilter, DeadLetterState, Page, StoredDeadLetter};
use trailpad_common::email::Email;
use trailpad_common::failure::Reason;
use trailpad_common::id::{ActivityId, WorkspaceId};
use trailpad_common::store::DeadLetter;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::email;
use super::store::{Fixture, fixtures};

fn id(id: u128) -> ActivityId {
    Uuid::from_u128(id).into()
}

pub(super) fn second(second: i64) -> Timestamp {
    Timestamp::from_unix_micros(second * 1_000_000)
}

impl Fixture {
    /// Received at second 1, given up at `dead_at`.
    pub fn dead(&self, number: u128, external_id: Option<&str>, dead_at: i64) -> DeadLetter {
        DeadLetter {
            id: id(number),
            webhook_id: external_id.map(|_| self.webhook_id),
            external_id: external_id.map(str::to_owned),
            replaces: false,
            member_email: external_id.map(|_| email("jane@example.com")),
            received_at: Some(second(1)),
            traceparent: None,
            attempts: 4,
            reason: Reason::UnknownMember,
            error: "nobody".into(),
            payload: b"\xff\x00 any bytes".to_vec(),
            dead_at: second(dead_at),
        }
    }

    pub async fn archive_dead_letters(&self, dead: &[DeadLetter]) {
        self.engine.store.archive_dead_letters(dead).await.expect("kept");
    }

    async fn find(&self, filter: &DeadLetterFilter) -> Vec<StoredDeadLetter> {
        let page = Page { after: None, limit: 100, with_payload: true };
        let found = self.engine.dead_letters.dead_letters(filter, page).await.expect("listed");
        let count = async |max| self.engine.dead_letters.count_dead_letters(filter, max).await;
        assert_eq!(count(100).await, Ok(found.len() as u64), "{filter:?}");
        assert_eq!(count(1).await, Ok(found.len().min(1) as u64), "counted no further");
        found
    }

    pub async fn mark(&self, number: u128, action: Action) {
        let marked = self.engine.dead_letters.mark_dead_letters(&[id(number)], action, "me").await;
        marked.expect("marked");
    }

    pub async fn states(&self) -> Vec<DeadLetterState> {
        let all = DeadLetterFilter { with_ended: true, ..DeadLetterFilter::default() };
        let mut found = self.find(&all).await;
        found.sort_by_key(|letter| letter.id);
        found.iter().map(|letter| letter.state).collect()
    }
}

#[tokio::test]
async fn dead_letters_are_kept_once_and_show_as_settled_when_a_copy_was_stored() {
    for f in fixtures().await {
        let letters = [f.dead(1, Some("k"), 2), f.dead(2, Some("other"), 2), f.dead(3, None, 2)];
        for _ in 0..2 {
            f.archive_dead_letters(&[&letters[..], &letters[..]].concat()).await;
        }
        f.insert(&[f.keyed(1, 1, ' ')]).await;
        let open = async |count_max| f.engine.store.open_dead_letters(count_max).await;
        assert_eq!(open(100).await, Ok(2));
        assert_eq!(open(1).await, Ok(1), "counted no further");
        use DeadLetterState::{Open, Settled};
        assert_eq!(f.states().await, [Settled, Open, Open]);
        let open = f.find(&DeadLetterFilter::default()).await;
        assert_eq!(open.len(), 2);
        let letter = open.iter().find(|letter| letter.id == id(2)).expect("listed");
        assert_eq!((letter.reason.as_str(), letter.attempts), ("unknown-member", 4));
        assert_eq!(letter.payload.as_deref(), Some(&b"\xff\x00 any bytes"[..]));
        assert_eq!((letter.received_at, letter.dead_at), (Some(second(1)), second(2)));
    }
}

#[tokio::test]
async fn each_filter_finds_its_own() {
    for f in fixtures().await {
        let early = DeadLetter { member_email: None, ..f.dead(1, Some("a"), 10) };
        let late = DeadLetter { reason: Reason::RefusedByStore, ..f.dead(2, Some("b"), 20) };
        f.archive_dead_letters(&[early, late, f.dead(3, None, 30)]).await;
        let none = DeadLetterFilter::default;
        let acme = f.engine.admin.workspace("Acme").await.expect("seeded").id;
        let jane: Email = email("jane@example.com");
        for (filter, wanted) in [
            (none(), vec![3, 2, 1]),
            (DeadLetterFilter { id: Some(id(2)), ..none() }, vec![2]),
            (DeadLetterFilter { webhook_id: Some(f.webhook_id), ..none() }, vec![2, 1]),
            (DeadLetterFilter { workspace_id: Some(acme), ..none() }, vec![2, 1]),
            (DeadLetterFilter { workspace_id: Some(WorkspaceId::generate()), ..none() }, vec![]),
            (DeadLetterFilter { reason: Some("refused-by-store".into()), ..none() }, vec![2]),
            (DeadLetterFilter { member_email: Some(jane), ..none() }, vec![2]),
            (DeadLetterFilter { dead_before: Some(second(20)), ..none() }, vec![1]),
        ] {
            let found: Vec<_> = f.find(&filter).await.iter().map(|letter| letter.id).collect();
            let wanted: Vec<_> = wanted.into_iter().map(id).collect();
            assert_eq!(found, wanted, "{filter:?}");
        }
    }
}

#[tokio::test]
async fn pages_go_through_all_of_them_once() {
    for f in fixtures().await {
        // Three died at the same time, so the id decides.
        let letters: Vec<_> = (1..=7).map(|n| f.dead(n, None, if n < 4 { 5 } else { 6 })).collect();
        f.archive_dead_letters(&letters).await;
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = Page { after, limit: 2, with_payload: false };
            let filter = DeadLetterFilter::default();
            let found = f.engine.dead_letters.dead_letters(&filter, page).await.expect("listed");
            assert!(found.iter().all(|letter| letter.payload.is_none()), "not asked for");
            let Some(last) = found.last() else { break };
            after = Some((last.dead_at, last.id));
            seen.extend(found.iter().map(|letter| letter.id));
        }
        assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1].map(id));
    }
}

#[tokio::test]
async fn a_replay_or_discard_ends_it_and_a_later_death_opens_it_again() {
    for f in fixtures().await {
        f.archive_dead_letters(&[
            f.dead(1, Some("a"), 10),
            f.dead(2, Some("b"), 10),
            f.dead(3, Some("c"), 10),
        ])
        .await;
        f.mark(1, Action::Replay { published_at: second(20) }).await;
        f.mark(2, Action::Discard).await;
        use DeadLetterState::{Discarded, Open, Replayed};
        assert_eq!(f.states().await, [Replayed, Discarded, Open]);
        f.archive_dead_letters(&[f.dead(1, Some("a"), 10)]).await;
        assert_eq!(f.states().await[0], Replayed, "the same death, delivered again");
        let again = DeadLetter { error: "still nobody".into(), ..f.dead(1, Some("a"), 30) };
        f.archive_dead_letters(&[again]).await;
        let open = f.find(&DeadLetterFilter::default()).await;
        let first = open.iter().find(|letter| letter.id == id(1)).expect("open again");
        assert_eq!((first.error.as_str(), first.dead_at), ("still nobody", second(30)));
        // It died before the mark of its replay was written.
        f.mark(1, Action::Replay { published_at: second(25) }).await;
        assert_eq!(f.states().await[0], Open);
    }
}

#[tokio::test]
async fn one_that_was_discarded_and_dies_again_later_is_open_with_what_died_last() {
    for f in fixtures().await {
        f.archive_dead_letters(&[f.dead(1, Some("a"), 10)]).await;
        f.mark(1, Action::Discard).await;
        // Posted again under the same Idempotency-Key, with another address.
        let again = DeadLetter {
            external_id: Some("b".into()),
            replaces: true,
            member_email: Some(email("joan@example.com")),
            received_at: Some(second(20)),
            traceparent: Some("trace".into()),
            attempts: 1,
            reason: Reason::RefusedByStore,
            error: "refused".into(),
            payload: b"corrected".to_vec(),
            ..f.dead(1, Some("a"), 30)
        };
        f.archive_dead_letters(&[again]).await;
        let open = f.find(&DeadLetterFilter::default()).await;
        assert_eq!(open.len(), 1, "open again");
        let seen = &open[0];
        assert_eq!(seen.external_id.as_deref(), Some("b"));
        assert_eq!(seen.member_email, Some(email("joan@example.com")));
        assert_eq!(seen.payload.as_deref(), Some(&b"corrected"[..]));
        assert_eq!((seen.received_at, seen.dead_at), (Some(second(20)), second(30)));
        assert_eq!((seen.traceparent.as_deref(), seen.attempts), (Some("trace"), 1));
        assert_eq!((seen.reason.as_str(), seen.error.as_str()), ("refused-by-store", "refused"));
    }
}

/// A letter of key `k` that was received at second `at`.
fn keyed(f: &Fixture, number: u128, at: i64, replaces: bool) -> DeadLetter {
    DeadLetter { received_at: Some(second(at)), replaces, ..f.dead(number, Some("k"), 50) }
}

#[tokio::test]
async fn it_is_settled_exactly_if_a_replay_would_change_nothing() {
    use DeadLetterState::{Open, Settled};
    for (stored_mode, letter_replaces, letter_at, wanted) in [
        (' ', false, 1, Settled),
        (' ', false, 9, Settled),
        ('R', false, 1, Settled),
        ('R', false, 9, Settled),
        ('R', true, 1, Settled),
        ('R', true, 9, Open),
        (' ', true, 1, Open),
        (' ', true, 9, Open),
    ] {
        for f in fixtures().await {
            f.insert(&[f.keyed(1, 5, stored_mode)]).await;
            f.archive_dead_letters(&[keyed(&f, 2, letter_at, letter_replaces)]).await;
            let case = (stored_mode, letter_replaces, letter_at);
            assert_eq!(f.states().await, [wanted], "{case:?}");
            let mode = if letter_replaces { 'R' } else { ' ' };
            let replayed = f.insert(&[f.keyed(2, letter_at, mode)]).await;
            assert_eq!(replayed.duplicates == 1, wanted == Settled, "{case:?}");
            assert_eq!(f.states().await, [Settled], "{case:?}, replayed");
        }
    }
}
