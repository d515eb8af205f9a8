//! The store: idempotent, all or nothing, the same outcome in every order.

use trailpad_common::activity::{Activity, Handling, Limits, OnDuplicate};
use trailpad_common::admin::{ActivityFilter, Role, StoredActivity};
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::store::{Inserted, MemberQuery, NewActivity, Resolution};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{StoreEngine, email, store_engines};

/// A store with a webhook, and its resolution.
pub(super) struct Fixture {
    pub engine: StoreEngine,
    pub webhook_id: WebhookId,
    creator: Resolution,
}

pub(super) async fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for engine in store_engines().await {
        engine.seed().await;
        let webhook_id = engine.webhook("W").await.0.id;
        let query = MemberQuery { webhook_id, email: None };
        let creator =
            engine.store.resolve(&[query]).await.expect("answered").remove(0).expect("known");
        fixtures.push(Fixture { engine, webhook_id, creator });
    }
    fixtures
}

impl Fixture {
    /// An activity of key `k` received at second `at`, titled by its id; `R` replaces.
    pub fn keyed(&self, id: u128, at: i64, mode: char) -> NewActivity<'static> {
        let mut new = self.unkeyed(id, at);
        new.activity.external_id = Some("k".into());
        if mode == 'R' {
            new.activity.processing.on_duplicate = OnDuplicate::Replace;
        }
        new
    }

    pub fn unkeyed(&self, id: u128, at: i64) -> NewActivity<'static> {
        let body = br#"{"title":"T","startTime":"2024-08-03T11:30:00Z"}"#;
        let mut activity =
            Activity::parse(body, Handling::Lenient, &Limits::NONE).expect("valid").activity;
        activity.title = id.to_string().into();
        NewActivity {
            id: Uuid::from_u128(id).into(),
            webhook_id: self.webhook_id,
            project_id: self.creator.project_id,
            member_id: self.creator.creator_id,
            received_at: Timestamp::from_unix_micros(at * 1_000_000),
            activity,
        }
    }

    pub async fn insert(&self, batch: &[NewActivity<'_>]) -> Inserted {
        self.engine.store.insert(batch).await.expect("stored")
    }

    pub async fn rows(&self) -> Vec<StoredActivity> {
        let filter = ActivityFilter { limit: 1_000, ..ActivityFilter::default() };
        self.engine.admin.activities(&filter).await.expect("listed")
    }

    /// The titles of all rows: the ids of their contents.
    async fn titles(&self) -> Vec<String> {
        let mut titles: Vec<_> = self.rows().await.into_iter().map(|row| row.title).collect();
        titles.sort();
        titles
    }
}

fn inserted(stored: u64, replaced: u64, duplicates: u64) -> Inserted {
    Inserted { stored, replaced, duplicates }
}

#[tokio::test]
async fn the_same_activity_again_is_the_same_row() {
    for f in fixtures().await {
        let batch = [f.unkeyed(1, 1), f.keyed(2, 2, ' '), f.keyed(3, 3, 'R')];
        assert_eq!(f.insert(&batch).await, inserted(2, 0, 1));
        let before = f.titles().await;
        assert_eq!(f.insert(&batch).await, inserted(0, 0, 3));
        for one in &batch {
            assert_eq!(f.insert(std::slice::from_ref(one)).await, inserted(0, 0, 1));
        }
        assert_eq!(f.titles().await, before);
        assert_eq!(before, ["1", "3"]);
    }
}

#[tokio::test]
async fn of_those_that_do_not_replace_the_first_stored_stays() {
    for f in fixtures().await {
        f.insert(&[f.keyed(1, 5, ' ')]).await;
        assert_eq!(f.insert(&[f.keyed(2, 1, ' '), f.keyed(3, 9, ' ')]).await, inserted(0, 0, 2));
        assert_eq!(f.titles().await, ["1"]);
    }
}

#[tokio::test]
async fn in_any_order_and_any_batches_the_newest_replacement_is_the_content() {
    for f in fixtures().await {
        the_newest_replacement_is_the_content(&f).await;
    }
}

async fn the_newest_replacement_is_the_content(f: &Fixture) {
    let mut external_id = 0;
    for order in permutations(4) {
        for cuts in 0..8_u32 {
            external_id += 1;
            let key = format!("k-{external_id}");
            let id = |n: u128| n + u128::from(external_id as u32) * 10;
            let all = [
                f.keyed(id(1), 1, ' '),
                f.keyed(id(2), 2, 'R'),
                f.keyed(id(3), 3, 'R'),
                f.keyed(id(4), 9, ' '),
            ];
            let mut batch = Vec::new();
            for (place, at) in order.iter().enumerate() {
                let mut new = all[*at].clone();
                new.activity.external_id = Some(key.clone().into());
                batch.push(new);
                // Each bit says whether the batch ends after this place.
                if place == 3 || cuts & (1 << place) != 0 {
                    f.insert(&batch).await;
                    f.insert(&batch).await;
                    batch.clear();
                }
            }
            let filter = ActivityFilter { external_id: Some(key), limit: 10, webhook_id: None };
            let rows = f.engine.admin.activities(&filter).await.expect("listed");
            let titles: Vec<_> = rows.iter().map(|row| row.title.clone()).collect();
            assert_eq!(titles, [id(3).to_string()], "{order:?} {cuts:b}");
        }
    }
}

#[tokio::test]
async fn a_replacement_changes_the_content_and_keeps_the_rows_id() {
    for f in fixtures().await {
        f.insert(&[f.keyed(1, 1, ' ')]).await;
        assert_eq!(f.insert(&[f.keyed(2, 2, 'R')]).await, inserted(0, 1, 0));
        let rows = f.rows().await;
        assert_eq!(rows.len(), 1);
        assert_eq!(
            (rows[0].id, rows[0].title.as_str()),
            (ActivityId::from(Uuid::from_u128(1)), "2")
        );
        assert_eq!(rows[0].received_at, Timestamp::from_unix_micros(2_000_000));
    }
}

#[tokio::test]
async fn the_same_external_id_of_two_webhooks_is_two_rows() {
    for f in fixtures().await {
        let other = f.engine.webhook("Other").await.0.id;
        let theirs = NewActivity { webhook_id: other, ..f.keyed(2, 2, 'R') };
        assert_eq!(f.insert(&[f.keyed(1, 1, ' '), theirs]).await, inserted(2, 0, 0));
    }
}

#[tokio::test]
async fn two_workers_that_store_the_same_keys_at_once_neither_fail_nor_double() {
    for f in fixtures().await {
        let batch = |mode| -> Vec<NewActivity<'static>> {
            (0..500)
                .map(|n| {
                    let mut new = f.keyed(n + if mode == 'R' { 10_000 } else { 0 }, 1, mode);
                    new.activity.external_id = Some(format!("k-{n}").into());
                    new
                })
                .collect()
        };
        let (one, two) = (batch(' '), batch('R'));
        let reversed: Vec<_> = two.iter().rev().cloned().collect();
        let (a, b, c) = tokio::join!(f.insert(&one), f.insert(&two), f.insert(&reversed));
        assert_eq!(a.stored + b.stored + c.stored, 500);
        assert_eq!(f.rows().await.len(), 500);
    }
}

#[tokio::test]
async fn members_are_found_by_webhook_and_address_in_the_order_asked() {
    for f in fixtures().await {
        let admin = &f.engine.admin;
        let acme = admin.workspace("Acme").await.expect("seeded").id;
        let jane =
            admin.add_member(acme, &email("jane@example.com"), Role::Member).await.expect("added");
        admin.create_workspace("Other", &email("eve@example.com")).await.expect("made");
        let ask = |webhook_id, address: Option<&str>| MemberQuery {
            webhook_id,
            email: address.map(email),
        };
        let answers = f
            .engine
            .store
            .resolve(&[
                ask(f.webhook_id, Some("jane@example.com")),
                ask(WebhookId::generate(), None),
                ask(f.webhook_id, None),
                ask(f.webhook_id, Some("eve@example.com")),
            ])
            .await
            .expect("answered");
        let member = |at: usize| answers[at].as_ref().and_then(|found: &Resolution| found.member);
        assert_eq!(member(0).map(|member| member.id), Some(jane.id));
        assert_eq!(answers[1], None, "an unknown webhook");
        assert_eq!(answers[2], Some(f.creator.clone()));
        assert_eq!(member(3), None, "a member of another workspace");
        assert_eq!(answers[3].as_ref().map(|found| found.creator_id), Some(f.creator.creator_id));
    }
}

fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![vec![]];
    }
    let shorter = permutations(n - 1);
    let insert = |shorter: &Vec<usize>, at: usize| {
        let mut longer = shorter.clone();
        longer.insert(at, n - 1);
        longer
    };
    shorter
        .iter()
        .flat_map(|shorter| (0..n).map(|at| insert(shorter, at)).collect::<Vec<_>>())
        .collect()
}
