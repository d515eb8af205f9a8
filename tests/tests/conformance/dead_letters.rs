//! Dead letters: archived once, found by every filter, closed by a replay or a discard.

use trailpad_common::admin::{
    Action, Cursor, DeadLetterFilter, DeadLetterState, Page, StoredDeadLetter,
};
use trailpad_common::failure::Reason;
use trailpad_common::id::{ActivityId, WorkspaceId};
use trailpad_common::store::DeadLetter;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::fixture::{Builder, DeadLetterBuilder, Fixture, second};
use super::{StoreEngine, email};

fn id(id: u128) -> ActivityId {
    Uuid::from_u128(id).into()
}

impl Fixture {
    pub async fn archive_dead_letters(&self, dead: &[DeadLetter]) {
        let archived = self.engine.store.record_failures(&[], dead).await;
        archived.expect("archiving dead letters should succeed");
    }

    async fn list(&self, filter: &DeadLetterFilter, page: Page) -> Vec<StoredDeadLetter> {
        let listed = self.engine.admin.dead_letters(filter, page).await;
        listed.expect("listing dead letters should succeed")
    }

    /// All dead letters that the filter finds, after a check of the count.
    async fn find(&self, filter: &DeadLetterFilter) -> Vec<StoredDeadLetter> {
        let page = Page { after: None, limit: 100, with_payload: true };
        let found = self.list(filter, page).await;
        let count = async |max| self.engine.admin.count_dead_letters(filter, max).await;
        assert_eq!(count(100).await, Ok(found.len() as u64), "{filter:?}");
        assert_eq!(count(1).await, Ok(found.len().min(1) as u64), "counts up to the limit only");
        found
    }

    pub async fn mark(&self, number: u128, action: Action) {
        let ids = [id(number)];
        let marked = self.engine.admin.mark_dead_letters(&ids, action, "me").await;
        marked.expect("marking the dead letter should succeed");
    }

    /// The states of all dead letters, in the order of their ids.
    pub async fn states(&self) -> Vec<DeadLetterState> {
        let all = DeadLetterFilter { with_ended: true, ..DeadLetterFilter::default() };
        let mut found = self.find(&all).await;
        found.sort_by_key(|letter| letter.id);
        found.iter().map(|letter| letter.state).collect()
    }
}

on_every_store! {
    dead_letters_are_archived_once_and_settled_if_a_copy_was_stored,
    each_filter_finds_the_matching_dead_letters,
    pages_list_every_dead_letter_once,
    a_replay_or_discard_closes_a_dead_letter_and_a_later_failure_reopens_it,
    a_discarded_dead_letter_that_fails_again_is_open_with_the_latest_content,
    a_dead_letter_of_a_clock_that_was_a_year_ahead_does_not_hide_a_later_one,
    a_dead_letter_is_settled_exactly_if_a_replay_would_change_nothing,
}

async fn dead_letters_are_archived_once_and_settled_if_a_copy_was_stored(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let letters = [
        fixture.dead_letter(1).key("k").died_at(2),
        fixture.dead_letter(2).key("other").died_at(2),
        fixture.dead_letter(3).unreadable().died_at(2),
    ];
    for _ in 0..2 {
        fixture.archive_dead_letters(&[&letters[..], &letters[..]].concat()).await;
    }
    fixture.insert(&[fixture.activity(1).key("k").received_at(1)]).await;
    let open = async |count_max| fixture.engine.store.open_dead_letters(count_max).await;
    assert_eq!(open(100).await, Ok(2));
    assert_eq!(open(1).await, Ok(1), "counts up to the limit only");
    use DeadLetterState::{Open, Settled};
    assert_eq!(fixture.states().await, [Settled, Open, Open]);
    let open = fixture.find(&DeadLetterFilter::default()).await;
    assert_eq!(open.len(), 2);
    let letter =
        open.iter().find(|letter| letter.id == id(2)).expect("dead letter 2 should be listed");
    assert_eq!((letter.reason.as_str(), letter.attempts), ("unknown-member", 4));
    assert_eq!(letter.payload.as_deref(), Some(&b"\xff\x00 any bytes"[..]));
    assert_eq!((letter.received_at, letter.dead_at), (Some(second(1)), second(2)));
}

async fn each_filter_finds_the_matching_dead_letters(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let early = DeadLetter { member_email: None, ..fixture.dead_letter(1).key("a").died_at(10) };
    let late = DeadLetter {
        reason: Reason::RefusedByStore,
        ..fixture.dead_letter(2).key("b").died_at(20)
    };
    fixture
        .archive_dead_letters(&[early, late, fixture.dead_letter(3).unreadable().died_at(30)])
        .await;
    let none = DeadLetterFilter::default;
    let acme =
        fixture.engine.admin.workspace("Acme").await.expect("workspace Acme should exist").id;
    let jane = email("jane@example.com");
    for (filter, wanted) in [
        (none(), vec![3, 2, 1]),
        (DeadLetterFilter { id: Some(id(2)), ..none() }, vec![2]),
        (DeadLetterFilter { webhook_id: Some(fixture.webhook_id), ..none() }, vec![2, 1]),
        (DeadLetterFilter { workspace_id: Some(acme), ..none() }, vec![2, 1]),
        (DeadLetterFilter { workspace_id: Some(WorkspaceId::generate()), ..none() }, vec![]),
        (DeadLetterFilter { reason: Some("refused-by-store".into()), ..none() }, vec![2]),
        (DeadLetterFilter { member_email: Some(jane), ..none() }, vec![2]),
        (DeadLetterFilter { dead_before: Some(second(20)), ..none() }, vec![1]),
    ] {
        let found: Vec<_> = fixture.find(&filter).await.iter().map(|letter| letter.id).collect();
        let wanted: Vec<_> = wanted.into_iter().map(id).collect();
        assert_eq!(found, wanted, "{filter:?}");
    }
}

async fn pages_list_every_dead_letter_once(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    // Three failed at the same time, so the id decides.
    let letters: Vec<_> = (1..=7)
        .map(|n| fixture.dead_letter(n).unreadable().died_at(if n < 4 { 5 } else { 6 }))
        .collect();
    fixture.archive_dead_letters(&letters).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = Page { after, limit: 2, with_payload: false };
        let filter = DeadLetterFilter::default();
        let found = fixture.list(&filter, page).await;
        assert!(found.iter().all(|letter| letter.payload.is_none()), "not asked for");
        let Some(last) = found.last() else { break };
        after = Some(Cursor { at: last.dead_at, id: last.id });
        seen.extend(found.iter().map(|letter| letter.id));
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1].map(id));
}

async fn a_replay_or_discard_closes_a_dead_letter_and_a_later_failure_reopens_it(
    engine: StoreEngine,
) {
    let fixture = Fixture::on(engine).await;
    fixture
        .archive_dead_letters(&[
            fixture.dead_letter(1).key("a").died_at(10),
            fixture.dead_letter(2).key("b").died_at(10),
            fixture.dead_letter(3).key("c").died_at(10),
        ])
        .await;
    fixture.mark(1, Action::Replay { published_at: second(20) }).await;
    fixture.mark(2, Action::Discard).await;
    use DeadLetterState::{Discarded, Open, Replayed};
    assert_eq!(fixture.states().await, [Replayed, Discarded, Open]);
    fixture.archive_dead_letters(&[fixture.dead_letter(1).key("a").died_at(10)]).await;
    assert_eq!(fixture.states().await[0], Replayed, "the same failure, delivered again");
    let again =
        DeadLetter { error: "still unknown".into(), ..fixture.dead_letter(1).key("a").died_at(30) };
    fixture.archive_dead_letters(&[again]).await;
    let open = fixture.find(&DeadLetterFilter::default()).await;
    let first =
        open.iter().find(|letter| letter.id == id(1)).expect("dead letter 1 should be open again");
    assert_eq!((first.error.as_str(), first.dead_at), ("still unknown", second(30)));
    // The activity failed again before its replay was marked.
    fixture.mark(1, Action::Replay { published_at: second(25) }).await;
    assert_eq!(fixture.states().await[0], Open);
}

async fn a_dead_letter_of_a_clock_that_was_a_year_ahead_does_not_hide_a_later_one(
    engine: StoreEngine,
) {
    let fixture = Fixture::on(engine).await;
    let year = 365 * 24 * 3_600;
    let now = Timestamp::now().unix_micros() / 1_000_000;
    fixture.archive_dead_letters(&[fixture.dead_letter(1).died_at(now + year)]).await;
    fixture.mark(1, Action::Discard).await;
    fixture.archive_dead_letters(&[fixture.dead_letter(1).died_at(now)]).await;
    let open = fixture.find(&DeadLetterFilter::default()).await;
    assert_eq!(open.iter().map(|letter| letter.dead_at).collect::<Vec<_>>(), [second(now)]);
}

async fn a_discarded_dead_letter_that_fails_again_is_open_with_the_latest_content(
    engine: StoreEngine,
) {
    let fixture = Fixture::on(engine).await;
    fixture.archive_dead_letters(&[fixture.dead_letter(1).key("a").died_at(10)]).await;
    fixture.mark(1, Action::Discard).await;
    // Posted again under the same Idempotency-Key, with another address.
    let again = DeadLetter {
        member_email: Some(email("joan@example.com")),
        traceparent: Some("trace".into()),
        attempts: 1,
        reason: Reason::RefusedByStore,
        error: "refused".into(),
        payload: b"corrected".to_vec(),
        ..fixture.dead_letter(1).key("b").received_at(20).replacing().died_at(30)
    };
    fixture.archive_dead_letters(&[again]).await;
    let open = fixture.find(&DeadLetterFilter::default()).await;
    assert_eq!(open.len(), 1, "open again");
    let seen = &open[0];
    assert_eq!(seen.external_id.as_deref(), Some("b"));
    assert_eq!(seen.member_email, Some(email("joan@example.com")));
    assert_eq!(seen.payload.as_deref(), Some(&b"corrected"[..]));
    assert_eq!((seen.received_at, seen.dead_at), (Some(second(20)), second(30)));
    assert_eq!((seen.traceparent.as_deref(), seen.attempts), (Some("trace"), 1));
    assert_eq!((seen.reason.as_str(), seen.error.as_str()), ("refused-by-store", "refused"));
}

async fn a_dead_letter_is_settled_exactly_if_a_replay_would_change_nothing(engine: StoreEngine) {
    use DeadLetterState::{Open, Settled};
    let fixture = Fixture::on(engine).await;
    let cases = [
        (false, false, 1, Settled),
        (false, false, 9, Settled),
        (true, false, 1, Settled),
        (true, false, 9, Settled),
        (true, true, 1, Settled),
        (true, true, 9, Open),
        (false, true, 1, Open),
        (false, true, 9, Open),
    ];
    for (row_id, (row_replaces, letter_replaces, letter_received_at, expected)) in
        (10..).step_by(10).zip(cases)
    {
        let case = (row_replaces, letter_replaces, letter_received_at);
        let key = format!("{case:?}");
        let mut row = fixture.activity(row_id).key(&key).received_at(5);
        if row_replaces {
            row = row.replacing();
        }
        fixture.insert(&[row]).await;

        let letter_id = row_id + 1;
        let mut letter = fixture.dead_letter(letter_id).key(&key).received_at(letter_received_at);
        let mut replay = fixture.activity(letter_id).key(&key).received_at(letter_received_at);
        if letter_replaces {
            letter = letter.replacing();
            replay = replay.replacing();
        }
        fixture.archive_dead_letters(&[letter]).await;
        assert_eq!(fixture.states().await.last(), Some(&expected), "{case:?}");
        let replayed = fixture.insert(&[replay]).await;
        assert_eq!(replayed.duplicates == 1, expected == Settled, "{case:?}");
        assert_eq!(fixture.states().await.last(), Some(&Settled), "{case:?}, replayed");
    }
    assert_eq!(fixture.states().await, [Settled; 8]);
}
