//! Activities, newest first, filtered by project, webhook, member and time; with a search in titles.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use trailpad_common::admin::{
    ActivityQueries, ActivityQuery, ActivityScope, Cursor, ListedActivity,
};
use trailpad_common::id::ActivityId;
use trailpad_common::timestamp::Timestamp;

use super::live_rows;
use super::pretty::pretty;
use super::search::{Criteria, Found, search};
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::{Tab, empty, first_options, page, time};
use crate::session::Viewer;
use crate::state::Dashboard;

const PAGE_ROWS: u32 = 50;
const FILTERS: [&str; 6] = ["project", "webhook", "member", "window", "before", "q"];
const TITLE_CHARS_MAX: usize = 200;
/// Time ranges: the name in the query, the seconds, and the label.
const WINDOWS: [(&str, u64, &str); 4] = [
    ("1h", 3_600, "the last hour"),
    ("24h", 86_400, "the last 24 hours"),
    ("7d", 604_800, "the last 7 days"),
    ("30d", 2_592_000, "the last 30 days"),
];

/// `GET /activities`
pub async fn list(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let fields = Fields::parse(request.query_string().as_bytes());
    let (query, criteria) = query(&viewer, &fields)?;
    let queries = &*dashboard.administration;
    let found = if criteria.is_empty() {
        page_of(queries, &query).await?
    } else {
        search(queries, &query, &criteria).await?
    };
    let filters = filters(&dashboard, &viewer, &fields).await?;
    let is_filtered = FILTERS.iter().any(|name| fields.get(name).is_some());
    let title = if is_filtered { "No activity matches" } else { "No activity yet" };
    let hint = html! {
        @if is_filtered { "Use fewer filters or a longer time range." }
        @else { "Create a webhook under " a href="/settings/integrations" { "Workspace Settings › Integrations" } " and post one to its URL." }
    };
    let is_live = query.after.is_none() && query.until.is_none() && criteria.is_empty();
    let stream = is_live.then(|| format!("/activities/stream?{}", fields.with("after", None)));
    let older =
        |cursor: Cursor| format!("/activities?{}", fields.with("after", Some(&cursor.to_string())));
    let is_full = found.activities.len() == PAGE_ROWS as usize;
    let body = html! {
        h1 { "Activities" }
        (filters)
        (list_of(&found.activities, stream.as_deref(), (title, &hint)))
        @if let Some(Cursor { at, .. }) = found.scanned_to.filter(|_| !is_full) {
            p.soft { "Searched what was received down to " (time(at)) "." }
        }
        nav.pager aria-label="Pages" {
            @if query.after.is_some() { a href=(format!("/activities?{}", fields.with("after", None))) { "← Newest" } } @else { span {} }
            @if let Some(cursor) = found.scanned_to {
                a href=(older(cursor)) rel="next" { @if is_full { "Older →" } @else { "Search further back →" } }
            }
        }
    };
    Ok(page(&viewer, Tab::Activities, "Activities", &body))
}

/// One page, with the cursor of the next.
async fn page_of(queries: &dyn ActivityQueries, query: &ActivityQuery) -> Result<Found, PageError> {
    // One row more than shown, to know whether another page exists.
    let one_more = ActivityQuery { limit: query.limit + 1, ..query.clone() };
    let mut activities = queries.page(&one_more).await?;
    let has_more = activities.len() > query.limit as usize;
    activities.truncate(query.limit as usize);
    let last = activities.last().filter(|_| has_more);
    let scanned_to = last.map(|last| Cursor { at: last.received_at, id: last.id });
    Ok(Found { activities, scanned_to })
}

/// `GET /activities/stream`
pub async fn stream(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let fields = Fields::parse(request.query_string().as_bytes());
    let (query, criteria) = query(&viewer, &fields)?;
    if criteria.is_empty() {
        live_rows::of(dashboard, viewer, ActivityQuery { after: None, ..query })
    } else {
        Err(PageError::NotFound)
    }
}

/// `GET /activities/{id}`
pub async fn show(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    id: web::Path<String>,
) -> Result<HttpResponse, PageError> {
    let id: ActivityId = id.parse().map_err(|_| PageError::NotFound)?;
    let activity = dashboard.administration.activity(viewer.workspace(), id).await?;
    let webhook = dashboard.administration.webhook(activity.webhook_id).await?;
    let body = html! {
        p { a href="/activities" { "← Activities" } }
        h1 { (activity.title) }
        @if let Some(description) = &activity.description { p { (description) } }
        section.card { dl.facts {
            dt { "Member" } dd { (activity.member_email) }
            dt { "Started" } dd { (time(activity.start_time)) }
            @if let Some(end) = activity.end_time { dt { "Ended" } dd { (time(end)) } }
            @if let Some(trigger) = &activity.trigger { dt { "Trigger" } dd { (trigger) } }
            @if let Some(event) = &activity.event { dt { "Event" } dd { (event) } }
            @if let Some(external_id) = &activity.external_id { dt { "External id" } dd { code { (external_id) } } }
            dt { "Project" } dd { (webhook.project) }
            dt { "Webhook" } dd { a href=(format!("/webhooks/{}", webhook.id)) { (webhook.name) } }
            dt { "Received" } dd { (time(activity.received_at)) }
            dt { "Stored" } dd { (time(activity.stored_at)) }
            dt { "Id" } dd { code { (activity.id) } }
        } }
        @if let Some(metadata) = &activity.metadata {
            h2 { "Metadata" }
            pre tabindex="0" { code { (pretty(metadata.get())) } }
        }
    };
    Ok(page(&viewer, Tab::Activities, &activity.title, &body))
}

/// The table of activities, or `hint` if it is empty. A `stream` keeps it up to date.
pub fn list_of(
    activities: &[ListedActivity],
    stream: Option<&str>,
    (title, hint): (&str, &Markup),
) -> Markup {
    html! { div data-list {
        div.when-empty hidden[!activities.is_empty()] { (empty(title, hint)) }
        div.scroll hidden[activities.is_empty()] { table {
            thead { tr {
                th scope="col" { "Received" } th scope="col" { "Title" } th scope="col" { "Member" }
                th scope="col" { "Event" } th scope="col" { "Started" } th scope="col" { "External id" }
            } }
            tbody data-stream=[stream] { (rows(activities)) }
        } }
    } }
}

pub fn rows(activities: &[ListedActivity]) -> Markup {
    html! { @for activity in activities { tr id=(format!("a-{}", activity.id)) {
        td { (time(activity.received_at)) }
        td { a href=(format!("/activities/{}", activity.id)) { (activity.title) } }
        td { (activity.member_email) }
        td { (activity.event.as_deref().or(activity.trigger.as_deref()).unwrap_or_default()) }
        td { (time(activity.start_time)) }
        td.id { @if let Some(external_id) = &activity.external_id { code title=(external_id) { (external_id) } } }
    } } }
}

async fn filters(
    dashboard: &Dashboard,
    viewer: &Viewer,
    fields: &Fields,
) -> Result<Markup, PageError> {
    let admin = &dashboard.administration;
    let projects = admin.projects(viewer.workspace()).await?;
    let webhooks = admin.webhooks(Some(viewer.workspace())).await?;
    let members = admin.members(viewer.workspace()).await?;
    let options = |name: &str, all: &str, list: Vec<(String, String)>| {
        let chosen = fields.get(name);
        html! { select name=(name) {
            option value="" { (all) }
            @for (value, text) in first_options(&list, |(value, _)| chosen == Some(value)) {
                option value=(value) selected[chosen == Some(value)] { (text) }
            }
        } }
    };
    let projects = projects.into_iter().map(|p| (p.id.to_string(), p.name)).collect();
    let webhooks = webhooks.into_iter().map(|w| (w.id.to_string(), w.name)).collect();
    let members = members.into_iter().map(|m| (m.id.to_string(), m.email.to_string())).collect();
    let windows =
        WINDOWS.iter().map(|(name, _, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Ok(html! {
        form.row method="get" action="/activities" role="search" {
            label { "Project" (options("project", "All projects", projects)) }
            label { "Webhook" (options("webhook", "All webhooks", webhooks)) }
            label { "Member" (options("member", "All members", members)) }
            label { "Received in" (options("window", "all time", windows)) }
            label { "Before (UTC)" input type="date" name="before" value=[fields.get("before")]; }
            label { "Title contains" input type="search" name="q" maxlength="200" value=[fields.get("q")]; }
            button.plain { "Show" }
        }
    })
}

/// Parses the query string: the most selective scope, and the criteria to search for within it.
fn query(viewer: &Viewer, fields: &Fields) -> Result<(ActivityQuery, Criteria), PageError> {
    let project = fields.id("project")?;
    let member = fields.id("member")?;
    let (scope, project_id, member_id) = match (fields.id("webhook")?, member, project) {
        (Some(id), _, _) => (ActivityScope::Webhook(id), project, member),
        (None, Some(id), _) => (ActivityScope::Member(id), project, None),
        (None, None, Some(id)) => (ActivityScope::Project(id), None, None),
        (None, None, None) => (ActivityScope::Workspace, None, None),
    };
    let title = fields.get("q");
    let title = title.map(|text| text.chars().take(TITLE_CHARS_MAX).collect::<String>());
    let window = fields.get("window").and_then(|name| WINDOWS.iter().find(|known| known.0 == name));
    let query = ActivityQuery {
        scope,
        from: window.map(|(_, seconds, _)| Timestamp::now() - Duration::from_secs(*seconds)),
        until: fields.get("before").map(start_of_day).transpose()?,
        after: fields.cursor("after")?,
        ..ActivityQuery::of(viewer.workspace(), PAGE_ROWS)
    };
    Ok((query, Criteria { project_id, member_id, title: title.map(|text| text.to_lowercase()) }))
}

/// Midnight of a day such as `2024-08-03`, in UTC.
fn start_of_day(day: &str) -> Result<Timestamp, PageError> {
    let parsed = Timestamp::parse(&format!("{day}T00:00:00Z"));
    parsed.map(|parsed| parsed.timestamp).map_err(|_| {
        PageError::Rejected("That is not a day: go back and write one such as 2024-08-03".into())
    })
}
