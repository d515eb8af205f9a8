//! The time of a page does not grow with the number of rows.

use std::time::{Duration, Instant};

use trailpad_tests::{Embedded, Sandbox};

use super::visitor::Visitor;

const FEW: u32 = 100;
const MANY: u32 = 100_000;
/// Requests per page. The shortest time counts, because other load on the machine only adds time.
const REQUESTS: usize = 21;
/// Variation of the shortest time of a page that takes half a millisecond.
const NOISE: Duration = Duration::from_micros(500);

/// Rows of the first webhook, half a second apart; `:from` and `:to` are numbers.
const ON_SERVERS: &str = r#"
INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id, title, start_time, received_at)
SELECT gen_random_uuid(), gen_random_uuid(), false, w.id, w.project_id, w.creator_id, 'Activity ' || n,
       now(), now() - make_interval(secs => (100000 - n) / 2.0)
FROM generate_series(:from, :to) n CROSS JOIN (SELECT * FROM webhooks LIMIT 1) w;
ANALYZE activities;
"#;

const ON_FILES: &str = r#"
WITH RECURSIVE numbers(n) AS (SELECT :from UNION ALL SELECT n + 1 FROM numbers WHERE n < :to)
INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id, title, start_time, received_at, stored_at)
SELECT randomblob(16), randomblob(16), 0, w.id, w.project_id, w.creator_id, 'Activity ' || n,
       1, unixepoch() * 1000000 - (100000 - n) * 500000, 1
FROM numbers CROSS JOIN (SELECT * FROM webhooks LIMIT 1) w;
"#;

#[tokio::test]
async fn with_a_thousand_times_as_many_activities_each_page_takes_at_most_twice_as_long_on_files() {
    let embedded = Embedded::default();
    let fill = async |sql: &str| embedded.execute(sql);
    pace(&embedded, &[], ON_FILES, fill).await;
}

#[tokio::test]
async fn with_a_thousand_times_as_many_activities_each_page_takes_at_most_twice_as_long_on_servers()
{
    let embedded = Embedded::default();
    let sandbox = Sandbox::new().await;
    let words = [
        "--database-url",
        &sandbox.database_url,
        "--amqp-url",
        &sandbox.amqp_url,
        "--queue",
        &sandbox.queue,
    ];
    pace(&embedded, &words, ON_SERVERS, async |sql: &str| sandbox.execute(sql).await).await;
}

async fn pace(embedded: &Embedded, words: &[&str], sql: &str, fill: impl AsyncFn(&str)) {
    let serve = embedded.serve(words).await;
    let link = std::fs::read_to_string(embedded.path().join("first-sign-in-url"))
        .expect("the file should contain a link");
    let owner = Visitor::by_link(link.trim()).await;
    let rows = |from: u32, to: u32| {
        sql.replace(":from", &from.to_string()).replace(":to", &to.to_string())
    };
    fill(&rows(MANY - FEW + 1, MANY)).await;
    let page = owner.ask("GET", "/settings/integrations", "").await.text();
    let webhook = page
        .split("/webhooks/")
        .nth(1)
        .and_then(|rest| rest.get(..36))
        .expect("the page should contain an id");
    let members = owner.ask("GET", "/settings/members", "").await.text();
    let member = members
        .split("?member=")
        .nth(1)
        .and_then(|rest| rest.get(..36))
        .expect("the page should contain an id");
    let mut pages = vec![
        "/activities".to_owned(),
        format!("/activities?webhook={webhook}"),
        format!("/activities?member={member}"),
        "/activities?window=24h&q=activity".to_owned(),
        format!("/webhooks/{webhook}"),
        "/settings/integrations".to_owned(),
        "/settings/members".to_owned(),
        "/dead-letters".to_owned(),
        "/activities".to_owned(),
    ];
    let few = shortest(&owner, &pages).await;
    fill(&rows(1, MANY - FEW)).await;
    // The last page is far down the list.
    let first = owner.ask("GET", "/activities", "").await.text();
    let after = first.split("after=").nth(1).and_then(|rest| rest.split('"').next());
    let (micros, id) = after
        .expect("the page should link to an older page")
        .split_once('.')
        .expect("the link should contain a position");
    let deep = micros.parse::<i64>().expect("the value should be a number") - 45_000 * 1_000_000;
    *pages.last_mut().expect("the list should not be empty") =
        format!("/activities?after={deep}.{id}");
    let many = shortest(&owner, &pages).await;
    let deepest =
        owner.ask("GET", pages.last().expect("the list should not be empty"), "").await.text();
    assert!(deepest.contains("Older →"), "the list continues");
    for ((page, few), many) in pages.iter().zip(few).zip(many) {
        println!("{page}: {few:?} with {FEW}, {many:?} with {MANY}");
        assert!(many <= few * 2 + NOISE, "{page}: {few:?} with {FEW}, {many:?} with {MANY}");
    }
    find_one_row(&owner).await;
    drop(serve);
}

/// Searches one row among many by its title; no page of the search reads all rows.
async fn find_one_row(owner: &Visitor) {
    let mut page = "/activities?q=ITY+12345".to_owned();
    for pages in 1.. {
        let began = Instant::now();
        let text = owner.ask("GET", &page, "").await.text();
        println!("{page}: {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(3), "{page}: {:?}", began.elapsed());
        if text.contains(">Activity 12345<") {
            assert!(pages > 1, "one page reads only a part of the rows");
            return;
        }
        assert!(text.contains("Search further back"), "the row is on no page");
        let link = text.split("href=\"").find(|link| link.contains("after="));
        page = link
            .and_then(|link| link.split('"').next())
            .expect("the page should contain a link")
            .replace("&amp;", "&");
    }
}

/// The shortest time of each page. The pages take turns, so a noisy second affects all of them.
async fn shortest(visitor: &Visitor, pages: &[String]) -> Vec<Duration> {
    let mut times = vec![Vec::new(); pages.len()];
    for _ in 0..REQUESTS {
        for (page, times) in pages.iter().zip(&mut times) {
            let began = Instant::now();
            assert_eq!(visitor.ask("GET", page, "").await.status, 200, "{page}");
            times.push(began.elapsed());
        }
    }
    times
        .into_iter()
        .map(|times| times.into_iter().min().expect("the list should not be empty"))
        .collect()
}
