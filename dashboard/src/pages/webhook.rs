//! A webhook's page: counts of accepted, refused, stored and dead; the latest activities; and the
//! latest rejected requests with the error that the sender received.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use serde::Deserialize;
use trailpad_common::admin::{ActivityQuery, ActivityScope, Webhook};
use trailpad_common::id::{ActivityId, WebhookId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::{Counts, RejectedRequest};

use super::activities::list_of;
use super::integrations::{status, test_button};
use super::live_rows;
use crate::chart::{Day, chart_start};
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::{Tab, csrf, empty, flash, grouped, page, time};
use crate::session::Viewer;
use crate::state::Dashboard;

const ACTIVITIES_SHOWN: u32 = 10;
const REFUSED_SHOWN: u32 = 20;

/// Finds a webhook of the viewer's workspace; `NotFound` for any other.
pub async fn find(dashboard: &Dashboard, viewer: &Viewer, id: &str) -> Result<Webhook, PageError> {
    let id: WebhookId = id.parse().map_err(|_| PageError::NotFound)?;
    let webhook = dashboard.administration.webhook(id).await?;
    if webhook.workspace_id != viewer.workspace() {
        return Err(PageError::NotFound);
    }
    Ok(webhook)
}

/// `GET /webhooks/{id}`
pub async fn show(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let webhook = find(&dashboard, &viewer, &id).await?;
    let queries = &dashboard.administration;
    let now = Timestamp::now();
    let workspace_id = viewer.workspace();
    let traffic = queries.traffic(workspace_id, &[webhook.id], chart_start(now)).await?;
    let day = Day::of(traffic.iter(), now);
    let activities = queries.page(&latest(&viewer, webhook.id)).await?;
    let refused = queries.refused(webhook.id, REFUSED_SHOWN).await?;
    let fields = Fields::parse(request.query_string().as_bytes());
    let sent = fields.id::<ActivityId>("sent")?;
    let is_stored = match sent {
        Some(id) => queries.activity(workspace_id, id).await.is_ok(),
        None => false,
    };
    let stream = format!("/webhooks/{}/stream", webhook.id);
    let body = html! {
        div.row.between {
            h2 { (webhook.name) " " (status(&webhook)) }
            div.row { @if webhook.revoked_at.is_none() && viewer.manages() { (test_button(&viewer, &webhook)) } }
        }
        p.soft {
            "Project " (webhook.project) " · created by " (webhook.creator) " · public id "
            code { (webhook.public_id) }
        }
        (flash(&fields))
        @if let Some(sent) = sent { p.notice role="status" data-sent=(sent) {
            @if is_stored { "The test activity is stored: see it below." }
            @else { "The test activity is in the queue. It appears below once a worker has stored it." }
        } }
        h2 { "Last 24 hours" }
        (counts(&day.total()))
        p.soft.small { "A repeat of an externalId is stored too: in the row that is there. What is neither stored nor dead is on its way, or is tried again." }
        section.card { (day.answered()) }
        section.card { (day.settled()) }
        h2 { "Latest activities" }
        (list_of(&activities, Some(&stream), ("No activity yet", &html! {
            "Post one to the webhook’s URL, or send a test activity."
        })))
        p { a href=(format!("/activities?webhook={}", webhook.id)) { "All activities of this webhook" } }
        h2 { "Latest refused requests" }
        @if refused.is_empty() {
            (empty("Nothing was refused", &html! { "Requests that can’t be accepted show here with the reason the sender was given." }))
        } @else { (refused_table(&refused)) }
        @if viewer.manages() && webhook.revoked_at.is_none() { (manage(&viewer, &webhook)) }
    };
    Ok(page(&viewer, Tab::Integrations, &webhook.name, &body))
}

/// `GET /webhooks/{id}/stream`
pub async fn stream(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    id: web::Path<String>,
) -> Result<HttpResponse, PageError> {
    let webhook = find(&dashboard, &viewer, &id).await?;
    let query = latest(&viewer, webhook.id);
    live_rows::of(dashboard, viewer, query)
}

fn latest(viewer: &Viewer, webhook_id: WebhookId) -> ActivityQuery {
    let all = ActivityQuery::of(viewer.workspace(), ACTIVITIES_SHOWN);
    ActivityQuery { scope: ActivityScope::Webhook(webhook_id), ..all }
}

fn counts(total: &Counts) -> Markup {
    html! { dl.stats {
        @for (name, count) in [
            ("accepted", total.accepted), ("refused", total.refused),
            ("stored", total.stored), ("dead", total.dead),
        ] {
            div { dt { span.dot.(name) aria-hidden="true" {} (name) } dd { (grouped(count.into())) } }
        }
    } }
}

/// The members of the gateway's problem document that the page shows.
#[derive(Deserialize)]
struct Problem {
    r#type: String,
    status: u16,
    detail: String,
    #[serde(default)]
    errors: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    pointer: String,
    detail: String,
}

fn refused_table(refused: &[RejectedRequest]) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label="Latest refused requests" { table {
        thead { tr { th scope="col" { "Time" } th scope="col" { "Answer" } th scope="col" { "What the sender was told" } } }
        tbody { @for request in refused { tr {
            td { (time(request.at)) }
            @match serde_json::from_str::<Problem>(&request.problem) {
                Ok(problem) => {
                    td.tight { span.badge.bad { (problem.status) } " " (problem.r#type) }
                    td {
                        @if problem.errors.is_empty() { (problem.detail) } @else {
                            @for error in &problem.errors { div { code { (error.pointer) } " " (error.detail) } }
                        }
                    }
                }
                Err(_) => { td { "refused" } td { "by a gateway of another version" } }
            }
        } } }
    } } }
}

fn manage(viewer: &Viewer, webhook: &Webhook) -> Markup {
    let action = |name: &str| format!("/webhooks/{}/{name}", webhook.id);
    html! {
        h2 { "Manage" }
        section.card {
            form.row method="post" action=(action("rename")) {
                (csrf(viewer))
                label { "Name" input name="name" required maxlength="100" value=(webhook.name); }
                button.plain { "Rename" }
            }
        }
        section.card {
            form.row method="post" action=(action("rotate")) {
                (csrf(viewer))
                input type="hidden" name="revision" value=(webhook.revision);
                label { "Rotate the token"
                    span.hint { "A new URL. The old one works on for:" }
                    select name="grace" {
                        option value="0" { "not at all" } option value="3600" { "1 hour" }
                        option value="86400" { "1 day" } option value="604800" { "7 days" }
                    }
                }
                button.plain { "Rotate" }
            }
        }
        section.card {
            details {
                summary { "Revoke this webhook" }
                p { "It takes no more activities, for ever; what it accepted before is still stored. Senders are answered 410." }
                form method="post" action=(action("revoke")) { (csrf(viewer)) button.danger { "Revoke for ever" } }
            }
        }
    }
}
