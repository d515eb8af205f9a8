//! Retention: what is old goes, a little at a time, and nothing that is open.

use trailpad_common::admin::{Action, Cutoffs, DeadLetterState, Purged};
use trailpad_common::store::DeadLetter;

use super::dead_letters::second;
use super::store::fixtures;

const ALL: u32 = 100;

fn cutoffs(activities: Option<i64>, dead_letters: Option<i64>) -> Cutoffs {
    Cutoffs { activities: activities.map(second), dead_letters: dead_letters.map(second) }
}

#[tokio::test]
async fn what_is_older_goes_in_batches_and_what_has_no_cutoff_stays() {
    for f in fixtures().await {
        let batch: Vec<_> =
            (1..=5).map(|at| f.unkeyed(at, i64::try_from(at).expect("small"))).collect();
        f.insert(&batch).await;
        let retention = &f.engine.retention;
        assert_eq!(retention.purge(cutoffs(None, Some(9)), ALL).await, Ok(Purged::default()));
        let old = cutoffs(Some(4), None);
        let counted = retention.count_old(old).await.expect("counted");
        assert_eq!(counted, Purged { activities: 3, dead_letters: 0 });
        for wanted in [2, 1, 0] {
            let purged = retention.purge(old, 2).await.expect("purged");
            assert_eq!(purged, Purged { activities: wanted, dead_letters: 0 });
        }
        assert_eq!(f.rows().await.len(), 2);
    }
}

#[tokio::test]
async fn of_dead_letters_only_those_go_that_were_dealt_with() {
    for f in fixtures().await {
        let letters = [(1, 10), (2, 10), (3, 10), (4, 10), (5, 30)];
        let letters: Vec<_> =
            letters.iter().map(|(id, at)| f.dead(*id, Some(&id.to_string()), *at)).collect();
        f.archive_dead_letters(&letters).await;
        f.insert(&[f.unkeyed(1, 1)]).await;
        f.mark(2, Action::Discard).await;
        f.mark(3, Action::Replay { published_at: second(20) }).await;
        f.mark(5, Action::Discard).await;
        let purged = f.engine.retention.purge(cutoffs(None, Some(20)), ALL).await.expect("purged");
        assert_eq!(purged, Purged { activities: 0, dead_letters: 2 });
        use DeadLetterState::{Discarded, Open, Replayed};
        assert_eq!(f.states().await, [Replayed, Open, Discarded], "3, 4 and 5");
    }
}

#[tokio::test]
async fn a_settled_dead_letter_never_looks_open_because_its_activity_went() {
    for f in fixtures().await {
        f.archive_dead_letters(&[f.dead(1, Some("k"), 50)]).await;
        f.insert(&[f.unkeyed(1, 1), f.unkeyed(2, 1)]).await;
        let purged = f.engine.retention.purge(cutoffs(Some(10), None), 1).await.expect("purged");
        assert_eq!(purged, Purged { activities: 0, dead_letters: 1 }, "it goes first");
        let purged = f.engine.retention.purge(cutoffs(Some(10), None), ALL).await.expect("purged");
        assert_eq!(purged, Purged { activities: 2, dead_letters: 0 });
        assert_eq!(f.states().await, []);
    }
}

#[tokio::test]
async fn a_duplicate_that_died_goes_with_the_row_that_settles_it_and_not_before() {
    for f in fixtures().await {
        // The row is older than the letters; one of them would still replace it.
        f.insert(&[f.keyed(1, 1, ' '), f.unkeyed(4, 30)]).await;
        let letter = |number, replaces| DeadLetter {
            received_at: Some(second(20)),
            replaces,
            ..f.dead(number, Some("k"), 50)
        };
        f.archive_dead_letters(&[letter(2, false), letter(3, true)]).await;
        use DeadLetterState::{Open, Settled};
        assert_eq!(f.states().await, [Settled, Open]);
        let retention = &f.engine.retention;
        for (cutoff, gone) in [(1, 0), (10, 1)] {
            let old = cutoffs(Some(cutoff), None);
            let wanted = Purged { activities: gone, dead_letters: gone };
            assert_eq!(retention.count_old(old).await, Ok(wanted));
            assert_eq!(retention.purge(old, ALL).await, Ok(wanted));
        }
        assert_eq!(f.states().await, [Open], "the one that would replace");
    }
}
