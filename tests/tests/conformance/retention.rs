//! Retention: old rows are deleted in batches; open dead letters are never deleted.

use trailpad_common::admin::{Action, Cutoffs, DeadLetterState, Purged};

use super::StoreEngine;
use super::fixture::{Builder, DeadLetterBuilder, Fixture, second};

const ALL: u32 = 100;

fn cutoffs(activities: Option<i64>, dead_letters: Option<i64>) -> Cutoffs {
    Cutoffs { activities: activities.map(second), dead_letters: dead_letters.map(second) }
}

impl Fixture {
    async fn purge(&self, cutoffs: Cutoffs, batch: u32) -> Purged {
        self.engine.admin.purge(cutoffs, batch).await.expect("purging should succeed")
    }
}

on_every_store! {
    old_rows_are_purged_in_batches_and_kinds_without_a_cutoff_stay,
    only_settled_and_discarded_dead_letters_are_purged,
    a_settled_dead_letter_never_reopens_because_its_activity_was_purged,
    a_dead_duplicate_is_purged_with_the_row_that_settles_it_and_not_before,
}

async fn old_rows_are_purged_in_batches_and_kinds_without_a_cutoff_stay(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let batch: Vec<_> =
        (1..=5).map(|n: u8| fixture.activity(n.into()).received_at(n.into())).collect();
    fixture.insert(&batch).await;
    let retention = &fixture.engine.admin;
    assert_eq!(retention.purge(cutoffs(None, Some(9)), ALL).await, Ok(Purged::default()));
    let old = cutoffs(Some(4), None);
    let counted = retention.count_old(old).await.expect("counting old rows should succeed");
    assert_eq!(counted, Purged { activities: 3, dead_letters: 0 });
    for wanted in [2, 1, 0] {
        let purged = fixture.purge(old, 2).await;
        assert_eq!(purged, Purged { activities: wanted, dead_letters: 0 });
    }
    assert_eq!(fixture.rows().await.len(), 2);
}

async fn only_settled_and_discarded_dead_letters_are_purged(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let letters = [(1, 10), (2, 10), (3, 10), (4, 10), (5, 30)];
    let letters: Vec<_> = letters
        .iter()
        .map(|(id, at)| fixture.dead_letter(*id).key(&id.to_string()).died_at(*at))
        .collect();
    fixture.archive_dead_letters(&letters).await;
    fixture.insert(&[fixture.activity(1).received_at(1)]).await;
    fixture.mark(2, Action::Discard).await;
    fixture.mark(3, Action::Replay { published_at: second(20) }).await;
    fixture.mark(5, Action::Discard).await;
    let purged = fixture.purge(cutoffs(None, Some(20)), ALL).await;
    assert_eq!(purged, Purged { activities: 0, dead_letters: 2 });
    use DeadLetterState::{Discarded, Open, Replayed};
    assert_eq!(fixture.states().await, [Replayed, Open, Discarded], "3, 4 and 5");
}

async fn a_settled_dead_letter_never_reopens_because_its_activity_was_purged(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    fixture.archive_dead_letters(&[fixture.dead_letter(1).key("k").died_at(50)]).await;
    fixture.insert(&[fixture.activity(1).received_at(1), fixture.activity(2).received_at(1)]).await;
    let purged = fixture.purge(cutoffs(Some(10), None), 1).await;
    assert_eq!(purged, Purged { activities: 0, dead_letters: 1 }, "the dead letter goes first");
    let purged = fixture.purge(cutoffs(Some(10), None), ALL).await;
    assert_eq!(purged, Purged { activities: 2, dead_letters: 0 });
    assert_eq!(fixture.states().await, []);
}

async fn a_dead_duplicate_is_purged_with_the_row_that_settles_it_and_not_before(
    engine: StoreEngine,
) {
    let fixture = Fixture::on(engine).await;
    // The row is older than the letters; letter 3 would still replace it.
    fixture
        .insert(&[fixture.activity(1).key("k").received_at(1), fixture.activity(4).received_at(30)])
        .await;
    let letter = |number| fixture.dead_letter(number).key("k").received_at(20);
    fixture.archive_dead_letters(&[letter(2), letter(3).replacing()]).await;
    use DeadLetterState::{Open, Settled};
    assert_eq!(fixture.states().await, [Settled, Open]);
    let retention = &fixture.engine.admin;
    for (cutoff, deleted) in [(1, 0), (10, 1)] {
        let old = cutoffs(Some(cutoff), None);
        let wanted = Purged { activities: deleted, dead_letters: deleted };
        assert_eq!(retention.count_old(old).await, Ok(wanted));
        assert_eq!(retention.purge(old, ALL).await, Ok(wanted));
    }
    assert_eq!(fixture.states().await, [Open], "the one that would replace");
}
