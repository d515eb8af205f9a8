//! Access: every route is requested by everyone who must be rejected.

use std::collections::BTreeSet;

use trailpad_tests::{Embedded, post, repository};

use super::visitor::Visitor;
use crate::SOON;

/// Text that no page may contain unescaped.
const SCRIPT: &str = r#"<script>alert(1)</script>"'><img src=x>"#;

/// The least role that may use a route.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Member,
    Manager,
}

/// Every route that needs a session: method, path, form, and the least role. `{…}` are ids.
const ROUTES: &[(&str, &str, &str, Access)] = &[
    ("GET", "/account", "", Access::Member),
    ("POST", "/account", "password=correct+horse+battery", Access::Member),
    ("GET", "/activities", "", Access::Member),
    ("GET", "/activities/stream", "", Access::Member),
    ("GET", "/activities/{activity}", "", Access::Member),
    ("GET", "/settings", "", Access::Member),
    ("POST", "/settings", "name=Hacked", Access::Manager),
    ("GET", "/settings/members", "", Access::Member),
    ("POST", "/settings/members", "email=x@example.com&role=member", Access::Manager),
    ("POST", "/settings/members/role", "email=member@example.com&role=admin", Access::Manager),
    ("POST", "/settings/members/remove", "email=member@example.com", Access::Manager),
    ("GET", "/settings/projects", "", Access::Member),
    ("POST", "/settings/projects", "name=Hacked", Access::Manager),
    ("POST", "/settings/projects/{project}", "name=Hacked", Access::Manager),
    ("GET", "/settings/integrations", "", Access::Member),
    ("POST", "/settings/integrations", "project={project}&name=Hacked", Access::Manager),
    ("GET", "/settings/integrations/new", "", Access::Manager),
    ("GET", "/webhooks/{webhook}", "", Access::Member),
    ("GET", "/webhooks/{webhook}/stream", "", Access::Member),
    ("POST", "/webhooks/{webhook}/test", "", Access::Manager),
    ("POST", "/webhooks/{webhook}/rename", "name=Hacked", Access::Manager),
    ("POST", "/webhooks/{webhook}/rotate", "grace=0&revision=1", Access::Manager),
    ("POST", "/webhooks/{webhook}/revoke", "", Access::Manager),
    ("GET", "/dead-letters", "", Access::Manager),
    ("POST", "/dead-letters", "do=discard&id={dead}", Access::Manager),
    ("GET", "/dead-letters/{dead}", "", Access::Manager),
    ("POST", "/sign-out", "", Access::Member),
];

/// Routes that need no session.
const OPEN: &[(&str, &str)] = &[
    ("GET", "/"),
    ("GET", "/assets/{version}/{name}"),
    ("GET", "/sign-in"),
    ("POST", "/sign-in"),
    ("GET", "/invite/{link}"),
    ("POST", "/invite/{link}"),
];

#[test]
fn every_route_is_in_the_table() {
    let source = repository::read("dashboard/src/server.rs");
    let plain = |path: &str| {
        let mut parts = path.split(['{', '}']);
        let mut plain = String::new();
        while let Some(part) = parts.next() {
            plain += part;
            plain += parts.next().map_or("", |_| "{}");
        }
        plain
    };
    let routes: BTreeSet<_> = source
        .split("route(\"")
        .skip(1)
        .map(|rest| {
            let (path, rest) = rest.split_once('"').expect("the route should have a path");
            let method = if rest.starts_with(", get()") { "GET" } else { "POST" };
            (method, plain(path))
        })
        .collect();
    let listed = ROUTES.iter().map(|(method, path, ..)| (*method, plain(path)));
    let open = OPEN.iter().map(|(method, path)| (*method, plain(path)));
    assert_eq!(routes, listed.chain(open).collect());
}

#[tokio::test]
async fn every_route_rejects_unauthorized_requests_and_shows_scripts_as_text() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&["--retry-schedule", "100ms"]).await;
    let url = serve.dashboard_url().await;
    let ingress = embedded.url(&serve).await;
    let cli = async |words: &[&str]| embedded.json(words).await;
    let member = ["--workspace", "My Workspace", "--email", "member@example.com"];
    cli(&[&["member", "add"][..], &member].concat()).await;
    cli(&["workspace", "create", "--name", "Other", "--owner", "other@example.com"]).await;
    let invite = async |workspace: &str, email: &str| {
        let words = ["member", "invite", "--workspace", workspace, "--email", email];
        let invited = cli(&[&words[..], &["--dashboard-url", &url]].concat()).await;
        Visitor::by_link(invited["link"].as_str().expect("the output should contain a link")).await
    };
    let owner = invite("My Workspace", "owner@example.com").await;
    let member = invite("My Workspace", "member@example.com").await;
    let other = invite("Other", "other@example.com").await;
    let anonymous = Visitor::anonymous(&url);

    // One row of each kind, with a script in every text that a person can write.
    let quoted = serde_json::to_string(SCRIPT).expect("serializing to JSON should succeed");
    let activity = format!(
        r#"{{"title":{quoted},"description":{quoted},"startTime":"2024-08-03T11:30:00Z","trigger":{quoted},
            "event":{quoted},"externalId":{quoted},"metadata":{{"a":{quoted}}}}}"#
    );
    assert_eq!(post(&ingress, &activity).await.status, 202);
    let dead = activity.replacen('{', r#"{"memberEmail":"x@example.com","#, 1);
    let dead = dead.replace("externalId", "description2");
    assert_eq!(post(&ingress, &dead).await.status, 202);
    assert_eq!(post(&ingress, &format!("{{{quoted}:1}}")).await.status, 422);
    embedded.wait_number("SELECT count(*) FROM activities", 1, SOON).await;
    embedded.wait_number("SELECT count(*) FROM dead_letters", 1, SOON).await;
    embedded.wait_number("SELECT count(*) FROM refused_requests", 1, SOON).await;
    let id_of = |table: &str| {
        let hex = embedded.texts(&format!("SELECT lower(hex(id)) FROM {table} LIMIT 1")).remove(0);
        uuid::Uuid::parse_str(&hex).expect("the id should be a UUID").to_string()
    };
    let [activity, project, webhook, dead] =
        ["activities", "projects", "webhooks", "dead_letters"].map(id_of);
    let fill = |text: &str| {
        text.replace("{activity}", &activity)
            .replace("{project}", &project)
            .replace("{webhook}", &webhook)
            .replace("{dead}", &dead)
    };
    let script = url::form_urlencoded::byte_serialize(SCRIPT.as_bytes()).collect::<String>();
    for path in ["/settings/projects", "/settings/projects/{project}", "/webhooks/{webhook}/rename"]
    {
        let answer = owner.post(&fill(path), &format!("name={script}+{}", path.len())).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
    }
    let counts = || {
        [
            "members WHERE ended_at IS NULL",
            "projects",
            "webhooks WHERE revoked_at IS NULL",
            "dead_letters WHERE discarded_at IS NULL AND replayed_at IS NULL",
            "members WHERE password_hash IS NOT NULL",
            "members WHERE role = 'admin'",
            "workspaces WHERE name = 'Hacked'",
            "activities",
        ]
        .map(|rows| embedded.number(&format!("SELECT count(*) FROM {rows}")))
    };
    let before = counts();

    for (method, path, form, access) in ROUTES {
        let path = fill(path);
        let form = fill(form);
        let route = format!("{method} {path}");
        let answer = anonymous.ask(method, &path, &form).await;
        assert!(
            answer.status == 303 && answer.headers["location"].starts_with("/sign-in"),
            "{route}"
        );
        if *method == "POST" {
            let answer = owner.post_bare(&path, &form).await;
            assert_eq!(answer.status, 403, "{route}: without the session's form token");
            let answer = owner.post_bare(&path, &format!("{form}&csrf={}", member.csrf)).await;
            assert_eq!(answer.status, 403, "{route}: with the form token of another session");
        }
        if *access == Access::Manager {
            assert_eq!(member.ask(method, &path, &form).await.status, 403, "{route}: a member");
        } else if *method == "GET" && !path.ends_with("stream") {
            assert_eq!(member.ask(method, &path, "").await.status, 200, "{route}: a member");
        }
        let has_foreign_id = path.contains('-')
            && !path.starts_with("/dead-letters?")
            && path != "/dead-letters"
            && path != "/sign-out";
        if has_foreign_id {
            let answer = other.ask(method, &path, &form).await;
            assert_eq!(answer.status, 404, "{route}: of another workspace: {}", answer.text());
        } else if *method == "GET" && !path.ends_with("stream") {
            let text = other.ask(method, &path, "").await.text();
            for hidden in [&activity, &webhook, &dead, &project, "owner@example.com", "alert(1)"] {
                assert!(!text.contains(hidden), "{route} shows {hidden} of another workspace");
            }
        }
        if *method == "GET" && !path.ends_with("stream") {
            let answer = owner.ask(method, &path, "").await;
            assert_eq!(answer.status, 200, "{route}");
            let text = answer.text();
            assert!(
                !text.contains("<script>alert") && !text.contains("<img src=x"),
                "{route}: {text}"
            );
            let policy = &answer.headers["content-security-policy"];
            assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{route}");
        }
    }
    // Ids of another workspace in a form or a query find nothing.
    let answer = other.post("/dead-letters", &format!("do=discard&id={dead}")).await;
    assert_eq!(answer.headers["location"], "/dead-letters?done=discarded.0.0");
    let member_id = id_of("members WHERE email = 'owner@example.com'");
    for query in ["project={project}", "webhook={webhook}", &format!("member={member_id}")] {
        let text = other.ask("GET", &fill(&format!("/activities?{query}")), "").await.text();
        assert!(!text.contains(&activity), "{query}");
    }
    let seen = "seen=2100-01-01T00:00:00Z";
    for (path, form, status) in [
        ("/settings/members/role", "email=member@example.com&role=admin", 404),
        ("/settings/members/remove", "email=member@example.com", 404),
        ("/settings/members", "email=member@example.com", 404),
        ("/settings/integrations", "project={project}&name=Hacked", 404),
        ("/dead-letters", "do=replay&id={dead}", 303),
        ("/dead-letters", &format!("do=replay-all&{seen}&query=webhook%3D{{webhook}}"), 303),
        ("/dead-letters", &format!("do=discard-all&{seen}&query=webhook%3D{{webhook}}"), 303),
        ("/dead-letters", &format!("do=discard-all&{seen}"), 303),
    ] {
        let answer = other.post(path, &fill(form)).await;
        assert_eq!(answer.status, status, "{path} {form}: {}", answer.text());
    }
    assert_eq!(counts(), before, "no request changed anything");
    assert!(
        owner
            .ask("GET", &format!("/activities/{activity}"), "")
            .await
            .text()
            .contains("&lt;script&gt;")
    );
}
