//! The rights of owners and admins over each other, and when a change takes effect.

use trailpad_tests::{Embedded, Role};

use super::visitor::Visitor;

async fn signed_in(embedded: &Embedded, serve: &Role, email: &str) -> Visitor {
    let url = serve.dashboard_url().await;
    let words =
        ["member", "invite", "--workspace", "My Workspace", "--email", email, "--dashboard-url"];
    let invited = embedded.json(&[&words[..], &[&url]].concat()).await;
    Visitor::by_link(invited["link"].as_str().expect("the output should contain a link")).await
}

#[tokio::test]
async fn an_admin_manages_everyone_but_owners_and_loses_revoked_rights_at_once() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let owner = signed_in(&embedded, &serve, "owner@example.com").await;
    let done = owner.post("/settings/members", "email=admin@example.com&role=admin").await;
    assert_eq!(done.status, 200);
    let again = owner.post("/settings/members", "email=admin@example.com&role=owner").await;
    assert!(again.text().contains("is a member already; the role stays as it is"));
    let admin = signed_in(&embedded, &serve, "admin@example.com").await;

    for (path, form, status) in [
        ("/settings/members", "email=jane@example.com&role=member", 200),
        ("/settings/members/role", "email=jane@example.com&role=admin", 303),
        ("/settings/members/role", "email=jane@example.com&role=owner", 422),
        ("/settings/members", "email=eve@example.com&role=owner", 422),
        ("/settings/members", "email=owner@example.com", 422),
        ("/settings/members/role", "email=owner@example.com&role=member", 422),
        ("/settings/members/remove", "email=owner@example.com", 422),
        ("/settings/members/remove", "email=jane@example.com", 303),
    ] {
        let answer = admin.post(path, form).await;
        assert_eq!(answer.status, status, "{path} {form}: {}", answer.text());
    }
    let people = "SELECT email || ' ' || role FROM members WHERE ended_at IS NULL ORDER BY email";
    let expected = ["admin@example.com admin", "owner@example.com owner"];
    assert_eq!(embedded.texts(people), expected);

    let only = owner.post("/settings/members/remove", "email=owner@example.com").await;
    assert!(only.text().contains("only owner"), "{}", only.text());
    let role = "email=admin@example.com&role=member";
    assert_eq!(owner.post("/settings/members/role", role).await.status, 303);
    assert_eq!(admin.ask("GET", "/dead-letters", "").await.status, 403, "no longer an admin");
    let removed = owner.post("/settings/members/remove", "email=admin@example.com").await;
    assert_eq!(removed.headers["location"], "/settings/members?done=removed");
    let page = owner.ask("GET", "/settings/members?done=removed", "").await;
    assert!(page.text().contains("signed out everywhere"));
    let removed = admin.ask("GET", "/activities", "").await;
    assert_eq!(removed.headers["location"], "/sign-in");
}
