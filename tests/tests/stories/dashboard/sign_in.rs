//! Signing in and out, and passwords.

use trailpad_tests::browser::{Browser, NAME};
use trailpad_tests::http::request;
use trailpad_tests::{Embedded, Role, Sandbox};

use super::visitor::Visitor;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// The sign-in link of the first start.
fn first_link(embedded: &Embedded) -> String {
    let link = std::fs::read_to_string(embedded.path().join("first-sign-in-url"));
    link.expect("the file should contain a link").trim().to_owned()
}

/// A new sign-in link for the owner.
async fn another_link(embedded: &Embedded, url: &str) -> String {
    let words = ["member", "invite", "--workspace", "My Workspace", "--email", "owner@example.com"];
    let invited = embedded.json(&[&words[..], &["--dashboard-url", url]].concat()).await;
    invited["link"].as_str().expect("the output should contain a link").to_owned()
}

/// A dashboard whose owner has a password, `right horse battery`.
async fn with_a_password(words: &[&str]) -> (Embedded, Role, String) {
    let embedded = Embedded::default();
    let serve = embedded.serve(words).await;
    let url = serve.dashboard_url().await;
    let owner = Visitor::by_link(&first_link(&embedded)).await;
    assert_eq!(owner.post("/account", "password=right+horse+battery").await.status, 303);
    (embedded, serve, url)
}

/// The status of a sign-in of the owner with this password, as a proxy would forward it from this
/// address.
async fn sign_in_status(url: &str, from: &str, password: &str) -> u16 {
    let form = format!("email=owner%40example.com&password={password}");
    let headers = [FORM, ("x-forwarded-for", from)];
    let answer = request("POST", &format!("{url}/sign-in"), &headers, form.as_bytes()).await;
    answer.expect("the request should get a response").status
}

#[tokio::test]
async fn a_link_signs_in_once_and_wrong_passwords_are_throttled() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&[]).await;
    let url = serve.dashboard_url().await;
    let link = first_link(&embedded);
    let owner = Visitor::by_link(&link).await;
    let again = request("POST", &link, &[], b"").await.expect("the request should get a response");
    assert!(again.text().contains("used up") && !again.headers.contains_key("set-cookie"));

    let short = owner.post("/account", "password=short").await;
    assert_eq!(short.status, 422);
    assert_eq!(owner.post("/account", "password=right+horse+battery").await.status, 303);
    let stored = embedded.texts("SELECT password_hash FROM members");
    assert!(stored[0].starts_with("$argon2id$"), "{stored:?}");
    let anonymous = Visitor::anonymous(&url);
    let form = |password: &str| format!("email=owner%40example.com&password={password}");
    let answer = anonymous.post_bare("/sign-in", &form("right+horse+battery")).await;
    let cookie = answer.headers["set-cookie"].clone();
    assert_eq!(answer.status, 303);
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    for _ in 0..10 {
        assert_eq!(anonymous.post_bare("/sign-in", &form("wrong")).await.status, 422);
    }
    assert_eq!(anonymous.post_bare("/sign-in", &form("right+horse+battery")).await.status, 429);

    assert_eq!(owner.post("/sign-out", "").await.status, 303);
    let after = owner.ask("GET", "/activities", "").await;
    assert_eq!(after.headers["location"], "/sign-in", "the session has ended in the store too");
}

#[tokio::test]
async fn forms_and_the_copy_button_work_over_plain_http() {
    let embedded = Embedded::default();
    let (serve, browser) = tokio::join!(embedded.serve(&[]), Browser::open());
    let named = |url: String| url.replace("127.0.0.1", NAME);
    browser.goto(&named(first_link(&embedded))).await;
    browser.sees("Welcome to My Workspace").await;
    assert_eq!(
        browser.run("return isSecureContext").await,
        false,
        "the browser sends no Sec-Fetch-Site"
    );
    browser.click("Sign in").await;
    browser.sees("All projects").await;

    let url = named(serve.dashboard_url().await);
    browser.goto(&format!("{url}/settings/members")).await;
    browser.fill("E-mail address", "jane@example.com").await;
    browser.click("Invite").await;
    let link = browser.text_of("link").await;
    browser.run("document.execCommand = () => false").await;
    browser.click("Copy").await;
    browser.sees("Not copied, but selected").await;
    browser.run("delete document.execCommand").await;
    browser.click("Not copied, but selected").await;
    browser.sees("Copied").await;
    browser.goto(&format!("{url}/settings/projects")).await;
    assert_eq!(browser.paste("Name").await, link);
    browser.close().await;
}

#[tokio::test]
async fn wrong_passwords_throttle_only_the_host_they_come_from() {
    let (_embedded, _serve, url) =
        with_a_password(&["--client-address-header", "X-Forwarded-For"]).await;
    for _ in 0..10 {
        assert_eq!(sign_in_status(&url, "192.0.2.1", "wrong").await, 422);
    }
    assert_eq!(sign_in_status(&url, "192.0.2.1", "right+horse+battery").await, 429);
    let invented = sign_in_status(&url, "192.0.2.2, 192.0.2.1", "right+horse+battery").await;
    assert_eq!(invented, 429, "only the last address comes from the proxy");
    assert_eq!(sign_in_status(&url, "192.0.2.1, 192.0.2.2", "right+horse+battery").await, 303);

    for host in 0..10 {
        assert_eq!(sign_in_status(&url, &format!("2001:db8:0:1::{host}"), "wrong").await, 422);
    }
    assert_eq!(
        sign_in_status(&url, "2001:db8:0:1:a::b", "right+horse+battery").await,
        429,
        "its /64"
    );
    assert_eq!(sign_in_status(&url, "2001:db8:0:2::1", "right+horse+battery").await, 303);
}

#[tokio::test]
async fn an_unconfigured_address_header_is_ignored_and_right_passwords_cost_no_attempt() {
    let (_embedded, serve, url) = with_a_password(&[]).await;
    for _ in 0..12 {
        assert_eq!(sign_in_status(&url, "192.0.2.1", "right+horse+battery").await, 303);
    }
    for host in 0..10 {
        assert_eq!(sign_in_status(&url, &format!("192.0.2.{host}"), "wrong").await, 422);
    }
    assert_eq!(sign_in_status(&url, "192.0.2.99", "right+horse+battery").await, 429);
    serve.wait_log("sign-in is throttled").await;
}

#[tokio::test]
async fn while_the_store_is_unavailable_no_sign_in_attempt_is_counted() {
    let (embedded, _serve, url) = with_a_password(&[]).await;
    embedded.execute("ALTER TABLE members RENAME TO renamed");
    for _ in 0..12 {
        assert_eq!(sign_in_status(&url, "192.0.2.1", "wrong").await, 503);
    }
    embedded.execute("ALTER TABLE renamed RENAME TO members");
    assert_eq!(sign_in_status(&url, "192.0.2.1", "right+horse+battery").await, 303);
}

#[tokio::test]
async fn a_new_password_needs_the_current_one_unless_a_link_began_the_session() {
    let (embedded, _serve, url) = with_a_password(&[]).await;
    let owner = Visitor::by_link(&another_link(&embedded, &url).await).await;
    assert!(!owner.ask("GET", "/account", "").await.text().contains("Current password"));
    let open = another_link(&embedded, &url).await;
    assert_eq!(owner.post("/account", "password=forgotten+horse").await.status, 303);
    let late = request("POST", &open, &[], b"").await.expect("the request should get a response");
    assert!(!late.headers.contains_key("set-cookie"), "an earlier link is invalid");

    assert!(owner.ask("GET", "/account", "").await.text().contains("Current password"));
    let set = async |current: &str| {
        let form = format!("password=another+horse+battery&current={current}");
        owner.post("/account", &form).await.status
    };
    assert_eq!(owner.post("/account", "password=another+horse+battery").await.status, 422);
    assert_eq!(set("right+horse+battery").await, 422, "that is the previous password");
    assert_eq!(set("forgotten+horse").await, 303);

    let by_password =
        Visitor::by_password(&url, "owner@example.com", "another+horse+battery").await;
    for _ in 0..8 {
        assert_eq!(by_password.post("/account", "password=guessed+horse").await.status, 422);
    }
    let form = "password=guessed+horse+battery&current=another+horse+battery";
    assert_eq!(
        by_password.post("/account", form).await.status,
        429,
        "guesses are throttled here too"
    );
}

#[tokio::test]
async fn expired_links_and_sessions_are_deleted_when_new_ones_are_created_on_files() {
    let embedded = Embedded::default();
    let _serve = embedded.serve(&[]).await;
    let count = async |table: &str| embedded.number(&format!("SELECT count(*) FROM {table}"));
    expired(&embedded, "0", async |sql: &str| embedded.execute(sql), count).await;
}

#[tokio::test]
async fn expired_links_and_sessions_are_deleted_when_new_ones_are_created_on_servers() {
    let embedded = Embedded::default();
    let sandbox = Sandbox::new().await;
    let database = &sandbox.database_url;
    let amqp = &sandbox.amqp_url;
    let queue = &sandbox.queue;
    let words = ["--database-url", database, "--amqp-url", amqp, "--queue", queue];
    let _serve = embedded.serve(&words).await;
    let count = async |table: &str| sandbox.number(&format!("SELECT count(*) FROM {table}")).await;
    expired(&embedded, "'-infinity'", async |sql: &str| sandbox.execute(sql).await, count).await;
}

async fn expired(
    embedded: &Embedded,
    past: &str,
    execute: impl AsyncFn(&str),
    count: impl AsyncFn(&str) -> i64,
) {
    let owner = Visitor::by_link(&first_link(embedded)).await;
    let link = async |email: &str| {
        let form = format!("email={email}&role=member");
        let page = owner.post("/settings/members", &form).await.text();
        let (_, rest) = page.split_once("id=\"link\">").expect("the page should contain a link");
        rest.split('<').next().expect("the page should contain a URL").to_owned()
    };
    Visitor::by_link(&link("jane%40example.com").await).await;
    link("john%40example.com").await;
    let counts = async || (count("invitations").await, count("sessions").await);
    assert_eq!(counts().await, (1, 2));
    execute(&format!("UPDATE invitations SET valid_until = {past}")).await;
    let new = link("jane%40example.com").await;
    assert_eq!(counts().await, (1, 2), "John's link is deleted");
    execute(&format!(
        "UPDATE sessions SET valid_until = {past}
         WHERE member_id IN (SELECT id FROM members WHERE email = 'jane@example.com')"
    ))
    .await;
    Visitor::by_link(&new).await;
    assert_eq!(counts().await, (0, 2), "Jane's first session is deleted");
}

#[tokio::test]
async fn signing_in_returns_to_the_requested_page() {
    let (_embedded, _serve, url) = with_a_password(&[]).await;
    let anonymous = Visitor::anonymous(&url);
    let wanted = "/activities?window=24h&q=a%26b";
    let asked = anonymous.ask("GET", wanted, "").await;
    let sign_in = &asked.headers["location"];
    assert_eq!(sign_in, "/sign-in?next=%2Factivities%3Fwindow%3D24h%26q%3Da%2526b");
    let page = anonymous.ask("GET", sign_in, "").await.text();
    assert!(page.contains(r#"name="next" value="/activities?window=24h&amp;q=a%26b""#), "{page}");
    let sign_in = async |next: &str, password: &str| {
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let form = format!("email=owner%40example.com&password={password}&next={next}");
        anonymous.post_bare("/sign-in", &form).await
    };
    let wrong = sign_in(wanted, "wrong").await.text();
    assert!(wrong.contains(r#"name="next" value="/activities?window=24h&amp;q=a%26b""#), "{wrong}");
    assert_eq!(sign_in(wanted, "right+horse+battery").await.headers["location"], wanted);
    for elsewhere in
        ["//evil.example", "/\\evil.example", "/\t/evil.example", "https://evil.example", "x", ""]
    {
        let answer = sign_in(elsewhere, "right+horse+battery").await;
        assert_eq!(answer.headers["location"], "/activities", "{elsewhere:?}");
    }
    let sent = anonymous.post_bare("/settings/projects", "name=X").await;
    assert_eq!(sent.headers["location"], "/sign-in", "a form is not sent a second time");
}

#[tokio::test]
async fn a_failed_page_is_logged_with_its_cause_and_without_secrets() {
    let embedded = Embedded::default();
    let serve = embedded.serve(&["--log-format", "json"]).await;
    let url = serve.dashboard_url().await;
    let owner = Visitor::by_link(&first_link(&embedded)).await;
    let anonymous = Visitor::anonymous(&url);
    assert_eq!(anonymous.ask("GET", "/nothing", "").await.status, 404);
    embedded.execute(
        "ALTER TABLE invitations RENAME TO renamed_invitations; ALTER TABLE refused_requests RENAME TO renamed_requests",
    );
    assert_eq!(anonymous.ask("GET", "/invite/SECRET", "").await.status, 503);
    serve.wait_log(r#""page":"/invite/{link}""#).await;
    assert!(serve.log_text().contains("SQLite failed (SQLite error 1)"), "{}", serve.log_text());
    assert_eq!(serve.log_count("a page failed"), 1, "{}", serve.log_text());
    assert!(!serve.log_text().contains("SECRET"));
    drop(owner);
}
