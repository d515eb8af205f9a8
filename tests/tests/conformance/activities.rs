//! What arrived: pages of every filter, of one workspace alone; traffic that adds up and is bounded.

use trailpad_common::admin::ActivityScope::{Member, Project, Webhook};
use trailpad_common::admin::{ActivityQuery, AdminError};
use trailpad_common::id::{MemberId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::{Counts, REJECTED_KEPT, RejectedRequest, SPAN};

use super::email;
use super::store::{Fixture, fixtures};

impl Fixture {
    async fn workspace_id(&self) -> WorkspaceId {
        self.engine.admin.workspace("Acme").await.expect("seeded").id
    }

    async fn page(&self, query: &ActivityQuery) -> Vec<String> {
        let page = self.engine.arrivals.page(query).await.expect("a page");
        page.into_iter().map(|row| row.title).collect()
    }
}

#[tokio::test]
async fn pages_of_any_size_put_together_are_the_whole_list_newest_first() {
    for f in fixtures().await {
        // Two of each instant: the id decides.
        let batch: Vec<_> = (1..=20).map(|n| f.unkeyed(n, (n / 2) as i64)).collect();
        f.insert(&batch).await;
        let workspace_id = f.workspace_id().await;
        let all = f.page(&ActivityQuery::of(workspace_id, 100)).await;
        let expected: Vec<String> = (1..=20).rev().map(|n: u128| n.to_string()).collect();
        assert_eq!(all, expected);
        for limit in [1, 3, 7, 20, 50] {
            let mut query = ActivityQuery::of(workspace_id, limit);
            let mut together = Vec::new();
            loop {
                let page = f.engine.arrivals.page(&query).await.expect("a page");
                query.after = page.last().map(|last| (last.received_at, last.id));
                let is_last = page.len() < limit as usize;
                together.extend(page.into_iter().map(|row| row.title));
                if is_last {
                    break;
                }
            }
            assert_eq!(together, expected, "{limit} a page");
        }
    }
}

#[tokio::test]
async fn filters_choose_and_another_workspace_sees_nothing() {
    for f in fixtures().await {
        let batch: Vec<_> = (1..=9).map(|n| f.unkeyed(n, n as i64)).collect();
        f.insert(&batch).await;
        let (project, member) = (batch[0].project_id, batch[0].member_id);
        let all = ActivityQuery::of(f.workspace_id().await, 100);
        let at = |second: i64| Some(Timestamp::from_unix_micros(second * 1_000_000));
        for (what, query, count) in [
            ("project", ActivityQuery { scope: Project(project), ..all.clone() }, 9),
            ("webhook", ActivityQuery { scope: Webhook(f.webhook_id), ..all.clone() }, 9),
            ("member", ActivityQuery { scope: Member(member), ..all.clone() }, 9),
            ("nobody", ActivityQuery { scope: Member(MemberId::generate()), ..all.clone() }, 0),
            ("from", ActivityQuery { from: at(4), ..all.clone() }, 6),
            ("until", ActivityQuery { until: at(4), ..all.clone() }, 3),
        ] {
            assert_eq!(f.page(&query).await.len(), count, "{what}");
        }
        f.engine.admin.create_workspace("Other", &email("o@example.com")).await.expect("made");
        let other = WorkspaceId::generate();
        for query in [
            ActivityQuery::of(other, 100),
            ActivityQuery { workspace_id: other, scope: Project(project), ..all.clone() },
            ActivityQuery { workspace_id: other, scope: Webhook(f.webhook_id), ..all.clone() },
            ActivityQuery { workspace_id: other, scope: Member(member), ..all.clone() },
        ] {
            assert!(f.page(&query).await.is_empty(), "{query:?}");
        }
        let one = f.engine.arrivals.activity(all.workspace_id, batch[0].id).await.expect("there");
        assert_eq!(one.title, "1");
        let foreign = f.engine.arrivals.activity(other, batch[0].id).await;
        assert!(matches!(foreign, Err(AdminError::NotFound(_))));
        let last = f.engine.arrivals.last_activities(all.workspace_id).await.expect("asked");
        assert_eq!(last, [(f.webhook_id, batch[8].received_at)]);
    }
}

#[tokio::test]
async fn traffic_adds_up_in_its_span_and_what_is_old_or_too_much_is_forgotten() {
    for f in fixtures().await {
        let (id, workspace_id) = (f.webhook_id, f.workspace_id().await);
        let now = Timestamp::from_unix_micros(1_800_000_000_000_000);
        let earlier = |span: std::time::Duration| {
            Timestamp::from_unix_micros(
                now.unix_micros() - i64::try_from(span.as_micros()).expect("small"),
            )
        };
        let record = async |at: Timestamp, counts: Counts, refused: &[RejectedRequest]| {
            f.engine.traffic.record(at, &[(id, counts)], refused).await.expect("recorded");
        };
        let gateway = Counts { accepted: 2, refused: 1, ..Counts::default() };
        let worker = Counts { stored: 2, dead: 1, ..Counts::default() };
        record(earlier(3 * SPAN), gateway, &[]).await;
        record(earlier(SPAN), gateway, &[]).await;
        f.engine.traffic.forget(earlier(2 * SPAN)).await.expect("forgotten");
        for counts in [gateway, worker, gateway] {
            record(now, counts, &[]).await;
        }
        let traffic = async |since: Timestamp| {
            let traffic = f.engine.arrivals.traffic(workspace_id, &[id], since).await;
            traffic.expect("asked").into_iter().map(|part| part.counts).collect::<Vec<_>>()
        };
        let sum = Counts { accepted: 4, refused: 2, stored: 2, dead: 1 };
        assert_eq!(traffic(Timestamp::from_unix_micros(0)).await, [gateway, sum]);
        assert_eq!(traffic(now).await, [sum]);
        let none = f.engine.arrivals.traffic(WorkspaceId::generate(), &[id], now).await;
        assert!(none.expect("asked").is_empty());

        let refused: Vec<_> = (0..REJECTED_KEPT + 10)
            .map(|n| RejectedRequest {
                webhook_id: id,
                at: Timestamp::from_unix_micros(i64::from(n)),
                problem: n.to_string(),
            })
            .collect();
        record(now, gateway, &refused).await;
        let kept = f.engine.arrivals.refused(id, 1_000).await.expect("asked");
        assert_eq!(kept.len(), REJECTED_KEPT as usize);
        assert_eq!(kept[0].problem, (REJECTED_KEPT + 9).to_string(), "the latest first");
    }
}

#[tokio::test]
async fn the_refused_requests_kept_are_the_last_that_came_whatever_the_clocks_of_gateways_say() {
    for f in fixtures().await {
        let (id, now) = (f.webhook_id, 1_800_000_000_000_000);
        let record = async |first: u32, last: u32, at: i64| {
            let refused = |n: u32| RejectedRequest {
                webhook_id: id,
                at: Timestamp::from_unix_micros(at + i64::from(n)),
                problem: n.to_string(),
            };
            let refused: Vec<_> = (first..=last).map(refused).collect();
            f.engine.traffic.record(Timestamp::from_unix_micros(at), &[], &refused).await
        };
        let behind = now - 3_600_000_000;
        record(1, 30, now).await.expect("recorded");
        record(31, 60, behind).await.expect("recorded");
        record(61, 70, now).await.expect("recorded");
        record(71, 80, behind).await.expect("recorded");
        let kept = f.engine.arrivals.refused(id, 1_000).await.expect("asked");
        let kept: Vec<String> = kept.into_iter().map(|refused| refused.problem).collect();
        let last = (81 - REJECTED_KEPT..=80).rev().map(|n| n.to_string());
        assert_eq!(kept, last.collect::<Vec<_>>());
    }
}
