//! Lists of stored activities and the traffic of webhooks, each for one workspace.

use std::time::Duration;

use trailpad_common::admin::ActivityScope::{Member, Project, Webhook};
use trailpad_common::admin::{ActivityQuery, AdminError, Cursor, ListedActivity};
use trailpad_common::id::{MemberId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::{Counts, REJECTED_KEPT, RejectedRequest, SPAN};

use super::fixture::{Builder, Fixture, second};
use super::{StoreEngine, email};

impl Fixture {
    async fn workspace_id(&self) -> WorkspaceId {
        self.engine.admin.workspace("Acme").await.expect("workspace Acme should exist").id
    }

    async fn page(&self, query: &ActivityQuery) -> Vec<ListedActivity> {
        self.engine.admin.page(query).await.expect("reading a page should succeed")
    }

    async fn titles_of(&self, query: &ActivityQuery) -> Vec<String> {
        self.page(query).await.into_iter().map(|row| row.title).collect()
    }

    async fn record(&self, at: Timestamp, counts: Counts, rejected: &[RejectedRequest]) {
        let recorded = self.engine.admin.record(at, &[(self.webhook_id, counts)], rejected).await;
        recorded.expect("recording traffic should succeed");
    }

    async fn traffic(&self, workspace_id: WorkspaceId, since: Timestamp) -> Vec<Counts> {
        let traffic = self.engine.admin.traffic(workspace_id, &[self.webhook_id], since).await;
        let traffic = traffic.expect("reading the traffic should succeed");
        traffic.into_iter().map(|part| part.counts).collect()
    }

    /// The problems of the rejected requests that are kept.
    async fn rejected(&self) -> Vec<String> {
        let rejected = self.engine.admin.refused(self.webhook_id, 1_000).await;
        let rejected = rejected.expect("reading the rejected requests should succeed");
        rejected.into_iter().map(|rejected| rejected.problem).collect()
    }
}

on_every_store! {
    pages_of_any_size_add_up_to_the_whole_list_newest_first,
    filters_select_activities_and_another_workspace_sees_nothing,
    traffic_adds_up_in_its_span_and_old_or_excess_entries_are_deleted,
    the_latest_rejected_requests_are_kept_whatever_the_gateways_clocks_say,
}

async fn pages_of_any_size_add_up_to_the_whole_list_newest_first(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    // Two activities share each timestamp, so the id decides.
    let batch: Vec<_> = (1..=20).map(|n| fixture.activity(n).received_at((n / 2) as i64)).collect();
    fixture.insert(&batch).await;
    let workspace_id = fixture.workspace_id().await;
    let all = fixture.titles_of(&ActivityQuery::of(workspace_id, 100)).await;
    let expected: Vec<String> = (1..=20).rev().map(|n: u128| n.to_string()).collect();
    assert_eq!(all, expected);
    for limit in [1, 3, 7, 20, 50] {
        let mut query = ActivityQuery::of(workspace_id, limit);
        let mut together = Vec::new();
        loop {
            let page = fixture.page(&query).await;
            query.after = page.last().map(|last| Cursor { at: last.received_at, id: last.id });
            let is_last = page.len() < limit as usize;
            together.extend(page.into_iter().map(|row| row.title));
            if is_last {
                break;
            }
        }
        assert_eq!(together, expected, "{limit} per page");
    }
}

async fn filters_select_activities_and_another_workspace_sees_nothing(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let batch: Vec<_> = (1..=9).map(|n| fixture.activity(n).received_at(n as i64)).collect();
    fixture.insert(&batch).await;
    let project = batch[0].project_id;
    let member = batch[0].member_id;
    let all = ActivityQuery::of(fixture.workspace_id().await, 100);
    for (name, query, count) in [
        ("project", ActivityQuery { scope: Project(project), ..all.clone() }, 9),
        ("webhook", ActivityQuery { scope: Webhook(fixture.webhook_id), ..all.clone() }, 9),
        ("member", ActivityQuery { scope: Member(member), ..all.clone() }, 9),
        ("nobody", ActivityQuery { scope: Member(MemberId::generate()), ..all.clone() }, 0),
        ("from", ActivityQuery { from: Some(second(4)), ..all.clone() }, 6),
        ("until", ActivityQuery { until: Some(second(4)), ..all.clone() }, 3),
    ] {
        assert_eq!(fixture.page(&query).await.len(), count, "{name}");
    }
    let created = fixture.engine.admin.create_workspace("Other", &email("o@example.com")).await;
    created.expect("creating a workspace should succeed");
    let other = WorkspaceId::generate();
    for query in [
        ActivityQuery::of(other, 100),
        ActivityQuery { workspace_id: other, scope: Project(project), ..all.clone() },
        ActivityQuery { workspace_id: other, scope: Webhook(fixture.webhook_id), ..all.clone() },
        ActivityQuery { workspace_id: other, scope: Member(member), ..all.clone() },
    ] {
        assert!(fixture.page(&query).await.is_empty(), "{query:?}");
    }
    let own = fixture.engine.admin.activity(all.workspace_id, batch[0].id).await;
    assert_eq!(own.expect("the activity should exist").title, "1");
    let foreign = fixture.engine.admin.activity(other, batch[0].id).await;
    assert!(matches!(foreign, Err(AdminError::NotFound(_))));
    let last = fixture.engine.admin.last_activities(all.workspace_id).await;
    let last = last.expect("reading the last activities should succeed");
    assert_eq!(last, [(fixture.webhook_id, batch[8].received_at)]);
}

async fn traffic_adds_up_in_its_span_and_old_or_excess_entries_are_deleted(engine: StoreEngine) {
    let fixture = Fixture::on(engine).await;
    let workspace_id = fixture.workspace_id().await;
    let now = second(1_800_000_000);
    let earlier = |span: Duration| {
        let span = i64::try_from(span.as_micros()).expect("the time span should fit");
        Timestamp::from_unix_micros(now.unix_micros() - span)
    };
    let gateway = Counts { accepted: 2, refused: 1, ..Counts::default() };
    let worker = Counts { stored: 2, dead: 1, ..Counts::default() };
    fixture.record(earlier(3 * SPAN), gateway, &[]).await;
    fixture.record(earlier(SPAN), gateway, &[]).await;
    let deleted = fixture.engine.admin.forget(earlier(2 * SPAN)).await;
    deleted.expect("deleting old traffic should succeed");
    for counts in [gateway, worker, gateway] {
        fixture.record(now, counts, &[]).await;
    }
    let sum = Counts { accepted: 4, refused: 2, stored: 2, dead: 1 };
    assert_eq!(fixture.traffic(workspace_id, second(0)).await, [gateway, sum]);
    assert_eq!(fixture.traffic(workspace_id, now).await, [sum]);
    assert!(fixture.traffic(WorkspaceId::generate(), now).await.is_empty());

    let rejected: Vec<_> = (0..REJECTED_KEPT + 10)
        .map(|n| RejectedRequest {
            webhook_id: fixture.webhook_id,
            at: Timestamp::from_unix_micros(i64::from(n)),
            problem: n.to_string(),
        })
        .collect();
    fixture.record(now, gateway, &rejected).await;
    let kept = fixture.rejected().await;
    assert_eq!(kept.len(), REJECTED_KEPT as usize);
    assert_eq!(kept[0], (REJECTED_KEPT + 9).to_string(), "the latest first");
}

async fn the_latest_rejected_requests_are_kept_whatever_the_gateways_clocks_say(
    engine: StoreEngine,
) {
    let fixture = Fixture::on(engine).await;
    let now = 1_800_000_000_000_000;
    let behind = now - 3_600_000_000;
    for (first, last, at) in [(1, 30, now), (31, 60, behind), (61, 70, now), (71, 80, behind)] {
        let rejected: Vec<_> = (first..=last)
            .map(|n: u32| RejectedRequest {
                webhook_id: fixture.webhook_id,
                at: Timestamp::from_unix_micros(at + i64::from(n)),
                problem: n.to_string(),
            })
            .collect();
        let at = Timestamp::from_unix_micros(at);
        let recorded = fixture.engine.admin.record(at, &[], &rejected).await;
        recorded.expect("recording traffic should succeed");
    }
    let last = (81 - REJECTED_KEPT..=80).rev().map(|n| n.to_string());
    assert_eq!(fixture.rejected().await, last.collect::<Vec<_>>());
}
