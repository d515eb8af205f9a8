//! The store: inserts are idempotent, and their outcome does not depend on the order.

use trailpad_common::admin::{ActivityFilter, Role};
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::store::{Inserted, MemberQuery, NewActivity, Resolution};
use uuid::Uuid;

use super::fixture::{Builder, Fixture, second};
use super::{StoreEngine, email};

fn inserted(stored: u64, replaced: u64, duplicates: u64) -> Inserted {
    Inserted { stored, replaced, duplicates }
}

on_every_store! {
    storing_an_activity_again_keeps_one_row,
    among_activities_that_do_not_replace_the_first_stored_stays,
    in_any_order_and_any_batches_the_newest_replacement_is_the_content,
    a_replacement_changes_the_content_and_keeps_the_rows_id,
    the_same_external_id_of_two_webhooks_is_two_rows,
    workers_that_store_the_same_keys_at_once_neither_fail_nor_store_twice,
    members_are_resolved_by_webhook_and_address_in_query_order,
}

async fn storing_an_activity_again_keeps_one_row(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let batch = [
        fixture.activity(1).received_at(1),
        fixture.activity(2).key("k").received_at(2),
        fixture.activity(3).key("k").received_at(3).replacing(),
    ];
    assert_eq!(fixture.insert(&batch).await, inserted(2, 0, 1));
    let before = fixture.titles().await;
    assert_eq!(fixture.insert(&batch).await, inserted(0, 0, 3));
    for one in &batch {
        assert_eq!(fixture.insert(std::slice::from_ref(one)).await, inserted(0, 0, 1));
    }
    assert_eq!(fixture.titles().await, before);
    assert_eq!(before, ["1", "3"]);
}

async fn among_activities_that_do_not_replace_the_first_stored_stays(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    fixture.insert(&[fixture.activity(1).key("k").received_at(5)]).await;
    let earlier = fixture.activity(2).key("k").received_at(1);
    let later = fixture.activity(3).key("k").received_at(9);
    assert_eq!(fixture.insert(&[earlier, later]).await, inserted(0, 0, 2));
    assert_eq!(fixture.titles().await, ["1"]);
}

async fn in_any_order_and_any_batches_the_newest_replacement_is_the_content(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let mut case = 0;
    for order in permutations(4) {
        // Each bit of `cuts` ends a batch after the activity at that position.
        for cuts in 0..8_u32 {
            case += 1;
            let key = format!("k-{case}");
            let id = |n: u128| case * 10 + n;
            let all = [
                fixture.activity(id(1)).key(&key).received_at(1),
                fixture.activity(id(2)).key(&key).received_at(2).replacing(),
                fixture.activity(id(3)).key(&key).received_at(3).replacing(),
                fixture.activity(id(4)).key(&key).received_at(9),
            ];
            let mut batch = Vec::new();
            for (position, index) in order.iter().enumerate() {
                batch.push(all[*index].clone());
                if position == 3 || cuts & (1 << position) != 0 {
                    fixture.insert(&batch).await;
                    fixture.insert(&batch).await;
                    batch.clear();
                }
            }
            let filter = ActivityFilter { external_id: Some(key), limit: 10, webhook_id: None };
            let rows = fixture.engine.admin.activities(&filter).await;
            let rows = rows.expect("listing activities should succeed");
            let titles: Vec<_> = rows.iter().map(|row| row.title.clone()).collect();
            assert_eq!(titles, [id(3).to_string()], "{order:?} {cuts:b}");
        }
    }
}

async fn a_replacement_changes_the_content_and_keeps_the_rows_id(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    fixture.insert(&[fixture.activity(1).key("k").received_at(1)]).await;
    let replacement = fixture.activity(2).key("k").received_at(2).replacing();
    assert_eq!(fixture.insert(&[replacement]).await, inserted(0, 1, 0));
    let rows = fixture.rows().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].id, ActivityId::from(Uuid::from_u128(1)));
    assert_eq!(rows[0].title, "2");
    assert_eq!(rows[0].received_at, second(2));
}

async fn the_same_external_id_of_two_webhooks_is_two_rows(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let other = fixture.engine.webhook("Other").await.0.id;
    let theirs = NewActivity {
        webhook_id: other,
        ..fixture.activity(2).key("k").received_at(2).replacing()
    };
    let ours = fixture.activity(1).key("k").received_at(1);
    assert_eq!(fixture.insert(&[ours, theirs]).await, inserted(2, 0, 0));
}

async fn workers_that_store_the_same_keys_at_once_neither_fail_nor_store_twice(
    engine: StoreEngine,
) {
    let fixture = Fixture::on(engine).await;
    let key = |n: u128| format!("k-{n}");
    let one: Vec<_> = (0..500).map(|n| fixture.activity(n).key(&key(n))).collect();
    let two: Vec<_> =
        (0..500).map(|n| fixture.activity(10_000 + n).key(&key(n)).replacing()).collect();
    let reversed: Vec<_> = two.iter().rev().cloned().collect();
    let (a, b, c) =
        tokio::join!(fixture.insert(&one), fixture.insert(&two), fixture.insert(&reversed));
    assert_eq!(a.stored + b.stored + c.stored, 500);
    assert_eq!(fixture.rows().await.len(), 500);
}

async fn members_are_resolved_by_webhook_and_address_in_query_order(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let admin = &fixture.engine.admin;
    let acme = admin.workspace("Acme").await.expect("workspace Acme should exist").id;
    let jane = admin
        .add_member(acme, &email("jane@example.com"), Role::Member)
        .await
        .expect("adding a member should succeed");
    admin
        .create_workspace("Other", &email("eve@example.com"))
        .await
        .expect("creating a workspace should succeed");
    let ask =
        |webhook_id, address: Option<&str>| MemberQuery { webhook_id, email: address.map(email) };
    let queries = [
        ask(fixture.webhook_id, Some("jane@example.com")),
        ask(WebhookId::generate(), None),
        ask(fixture.webhook_id, None),
        ask(fixture.webhook_id, Some("eve@example.com")),
    ];
    let answers = fixture.engine.store.resolve(&queries).await;
    let answers = answers.expect("resolving members should succeed");
    let member = |at: usize| answers[at].as_ref().and_then(|found: &Resolution| found.member);
    assert_eq!(member(0).map(|member| member.id), Some(jane.id));
    assert_eq!(answers[1], None, "an unknown webhook");
    assert_eq!(answers[2], Some(fixture.creator.clone()));
    assert_eq!(member(3), None, "a member of another workspace");
    assert_eq!(answers[3].as_ref().map(|found| found.creator_id), Some(fixture.creator.creator_id));
}

/// Every order of the numbers below `n`.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for shorter in permutations(n - 1) {
        for position in 0..n {
            let mut longer = shorter.clone();
            longer.insert(position, n - 1);
            all.push(longer);
        }
    }
    all
}
