//! Failures in the store: waiting retries, their claims, and trials.

use std::time::Duration;

use trailpad_common::admin::{RetryFilter, Role};
use trailpad_common::failure::Reason;
use trailpad_common::id::ActivityId;
use trailpad_common::store::{ClaimedRetry, WaitingRetry};
use uuid::Uuid;

use super::fixture::{Builder, DeadLetterBuilder, Fixture, second};
use super::{StoreEngine, email};

const LEASE: Duration = Duration::from_secs(60);
const NOW: Duration = Duration::ZERO;

on_every_store! {
    a_retry_is_claimed_once_it_is_due_and_by_one_worker_only,
    a_claim_that_is_neither_settled_nor_released_is_counted,
    an_activity_that_is_stored_waits_no_more,
    a_dead_activity_waits_no_more,
    only_a_later_attempt_replaces_a_waiting_retry,
    what_waits_is_counted_by_webhook,
    a_trial_that_does_not_end_is_remembered,
    a_probe_stores_nothing,
    waiting_retries_are_listed_and_hurried_by_filter,
    what_waits_for_a_member_is_due_once_it_is_added,
}

fn id(number: u128) -> ActivityId {
    Uuid::from_u128(number).into()
}

impl Fixture {
    fn retry(&self, number: u128, attempt: u32, delay: Duration) -> WaitingRetry {
        WaitingRetry {
            id: id(number),
            webhook_id: self.webhook_id,
            member_email: Some(email("later@acme.test")),
            reason: Reason::UnknownMember,
            error: "no such member".into(),
            attempt,
            delay,
            received_at: second(7),
            traceparent: None,
            activity: format!(r#"{{"title":"{number}"}}"#),
        }
    }

    async fn wait_for_retry(&self, retries: &[WaitingRetry]) {
        let recorded = self.engine.store.record_failures(retries, &[]).await;
        recorded.expect("recording failures should succeed");
    }

    async fn claim(&self, lease: Duration) -> Vec<ClaimedRetry> {
        let claimed = self.engine.store.claim_retries(10, lease).await;
        let mut claimed = claimed.expect("claiming should succeed");
        claimed.sort_by_key(|retry| retry.id);
        claimed
    }
}

async fn a_retry_is_claimed_once_it_is_due_and_by_one_worker_only(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let later = fixture.retry(2, 2, Duration::from_secs(600));
    fixture.wait_for_retry(&[fixture.retry(1, 2, NOW), later]).await;
    let (one, two) = tokio::join!(fixture.claim(LEASE), fixture.claim(LEASE));
    let claimed = [one, two].concat();
    let expected = ClaimedRetry {
        id: id(1),
        webhook_id: fixture.webhook_id,
        attempt: 2,
        received_at: second(7),
        traceparent: None,
        activity: r#"{"title":"1"}"#.into(),
        lost_claims: 0,
    };
    assert_eq!(claimed, [expected]);
}

async fn a_claim_that_is_neither_settled_nor_released_is_counted(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    fixture.wait_for_retry(&[fixture.retry(1, 2, NOW)]).await;
    let lost_claims = async |lease| match &fixture.claim(lease).await[..] {
        [claimed] => claimed.lost_claims,
        others => panic!("one retry should be claimed: {others:?}"),
    };
    assert_eq!(lost_claims(NOW).await, 0);
    assert_eq!(lost_claims(NOW).await, 1, "the lease ended");
    let released = fixture.engine.store.release_retries(&[id(1)]).await;
    released.expect("releasing should succeed");
    assert_eq!(lost_claims(NOW).await, 1, "a release does not count");
    fixture.wait_for_retry(&[fixture.retry(1, 3, NOW)]).await;
    assert_eq!(lost_claims(NOW).await, 0, "a further attempt starts anew");
}

async fn an_activity_that_is_stored_waits_no_more(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    fixture.wait_for_retry(&[fixture.retry(1, 2, NOW), fixture.retry(2, 2, NOW)]).await;
    let batch = [fixture.activity(1).received_at(1)];
    let stored = fixture.engine.store.insert(&batch, true).await;
    assert_eq!(stored.expect("storing should succeed").inserted.stored, 1);
    let waiting: Vec<ActivityId> =
        fixture.claim(LEASE).await.iter().map(|retry| retry.id).collect();
    assert_eq!(waiting, [id(2)]);
}

async fn a_dead_activity_waits_no_more(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    fixture.wait_for_retry(&[fixture.retry(1, 2, NOW)]).await;
    fixture.archive_dead_letters(&[fixture.dead_letter(1).died_at(10)]).await;
    assert_eq!(fixture.claim(LEASE).await, []);
}

async fn only_a_later_attempt_replaces_a_waiting_retry(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let attempts = async || -> Vec<u32> {
        fixture.claim(NOW).await.iter().map(|retry| retry.attempt).collect()
    };
    fixture.wait_for_retry(&[fixture.retry(1, 3, NOW)]).await;
    fixture.wait_for_retry(&[fixture.retry(1, 2, Duration::from_secs(600))]).await;
    assert_eq!(attempts().await, [3], "a message that is delivered again changes nothing");
    fixture.wait_for_retry(&[fixture.retry(1, 4, NOW)]).await;
    assert_eq!(attempts().await, [4]);
}

async fn what_waits_is_counted_by_webhook(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    fixture.wait_for_retry(&[fixture.retry(1, 2, NOW), fixture.retry(2, 2, LEASE)]).await;
    let usage = fixture.engine.store.retry_usage().await.expect("reading should succeed");
    let bytes = 2 * r#"{"title":"1"}"#.len() as u64;
    assert_eq!((usage.count, usage.bytes), (2, bytes));
    assert_eq!(usage.bytes_by_webhook.get(&fixture.webhook_id), Some(&bytes));
}

async fn a_trial_that_does_not_end_is_remembered(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let begin = async || fixture.engine.store.begin_trial(id(1)).await;
    assert_eq!(begin().await, Ok(0));
    assert_eq!(begin().await, Ok(1));
    assert_eq!(begin().await, Ok(2));
    assert_eq!(fixture.engine.store.end_trial(id(1)).await, Ok(()));
    assert_eq!(begin().await, Ok(0));
}

async fn a_probe_stores_nothing(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    assert_eq!(fixture.engine.store.probe().await, Ok(()));
    fixture.insert(&[fixture.activity(1).received_at(1)]).await;
    assert_eq!(fixture.engine.store.probe().await, Ok(()));
    assert_eq!(fixture.titles().await, ["1"]);
}

async fn waiting_retries_are_listed_and_hurried_by_filter(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let hour = Duration::from_secs(3_600);
    fixture.wait_for_retry(&[fixture.retry(1, 2, hour), fixture.retry(2, 3, hour * 2)]).await;
    let admin = &fixture.engine.admin;
    let listed = admin.retries(&RetryFilter::default(), 10).await;
    let listed = listed.expect("listing should succeed");
    let attempts: Vec<(ActivityId, u32)> =
        listed.iter().map(|retry| (retry.id, retry.attempt)).collect();
    assert_eq!(attempts, [(id(1), 2), (id(2), 3)], "those that are due first come first");
    assert_eq!(listed[0].member_email, Some(email("later@acme.test")));

    for nothing in [
        RetryFilter { id: Some(id(9)), ..RetryFilter::default() },
        RetryFilter { reason: Some("unreadable".into()), ..RetryFilter::default() },
        RetryFilter { member_email: Some(email("x@acme.test")), ..RetryFilter::default() },
        RetryFilter { webhook_id: Some(Uuid::nil().into()), ..RetryFilter::default() },
    ] {
        assert_eq!(admin.hurry_retries(&nothing).await, Ok(0), "{nothing:?}");
    }
    assert_eq!(fixture.claim(LEASE).await, []);
    let second = RetryFilter { id: Some(id(2)), ..RetryFilter::default() };
    assert_eq!(admin.hurry_retries(&second).await, Ok(1));
    let claimed = fixture.claim(LEASE).await;
    assert_eq!(claimed.iter().map(|retry| retry.id).collect::<Vec<_>>(), [id(2)]);
}

async fn what_waits_for_a_member_is_due_once_it_is_added(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    fixture.wait_for_retry(&[fixture.retry(1, 2, Duration::from_secs(3_600))]).await;
    let admin = &fixture.engine.admin;
    let other = admin.create_workspace("Other", &email("owner@other.test")).await;
    let other = other.expect("creating a workspace should succeed").0.id;
    let add = async |workspace| {
        let added = admin.add_member(workspace, &email("later@acme.test"), Role::Member).await;
        added.expect("adding a member should succeed");
    };
    add(other).await;
    assert_eq!(fixture.claim(LEASE).await, [], "another workspace has such a member");
    add(admin.workspace("Acme").await.expect("workspace Acme should exist").id).await;
    assert_eq!(fixture.claim(LEASE).await.len(), 1);
}
