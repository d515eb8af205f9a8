//! Workspace Settings › Integrations › Custom Webhooks: the list, and creating a webhook.

use std::collections::HashMap;

use actix_web::{HttpResponse, web};
use maud::{Markup, html};
use trailpad_common::admin::{NewWebhook, Traffic, Webhook};
use trailpad_common::id::WebhookId;
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::ingress_url;
use trailpad_common::webhook::token::NewToken;

use super::snippets;
use crate::chart::{Day, chart_start};
use crate::error::PageError;
use crate::layout::{Tab, csrf, empty, first_rows, page, time, truncation_warning};
use crate::session::{SignedForm, Viewer};
use crate::state::Dashboard;

/// `GET /settings/integrations`
pub async fn list(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
) -> Result<HttpResponse, PageError> {
    let administration = &dashboard.administration;
    let now = Timestamp::now();
    let workspace_id = viewer.workspace();
    let webhooks = administration.webhooks(Some(viewer.workspace())).await?;
    let last: HashMap<WebhookId, Timestamp> =
        administration.last_activities(workspace_id).await?.into_iter().collect();
    let ids: Vec<WebhookId> = first_rows(&webhooks).iter().map(|webhook| webhook.id).collect();
    let mut traffic: HashMap<WebhookId, Vec<Traffic>> = HashMap::new();
    for part in administration.traffic(workspace_id, &ids, chart_start(now)).await? {
        traffic.entry(part.webhook_id).or_default().push(part);
    }
    let day = |id| Day::of(traffic.get(&id).into_iter().flatten(), now);
    let body = html! {
        div.row.between {
            h2 { "Custom Webhooks" }
            @if viewer.manages() { a.button href="/settings/integrations/new" { "Create New Webhook" } }
        }
        p.soft { "Any tool can post activities to a webhook’s URL." }
        (truncation_warning(&webhooks, "trailpad webhook list"))
        @if webhooks.is_empty() {
            (empty("There is no webhook yet", &html! {
                @if viewer.manages() { "Create one, and post your first activity to its URL." }
                @else { "Ask an owner or an admin of the workspace to create one." }
            }))
        } @else {
            div.scroll { table {
                thead { tr {
                    th scope="col" { "Name" } th scope="col" { "Project" } th scope="col" { "Created by" }
                    th scope="col" { "Public id" } th scope="col" { "Last activity" }
                    th scope="col" { "Last 24 hours" } th scope="col" { "Status" }
                } }
                tbody { @for webhook in first_rows(&webhooks) { tr {
                    td { a href=(format!("/webhooks/{}", webhook.id)) { (webhook.name) } }
                    td { (webhook.project) }
                    td { (webhook.creator) }
                    td.tight { code { (webhook.public_id) } }
                    td { @match last.get(&webhook.id) { Some(at) => (time(*at)), None => span.soft { "none yet" } } }
                    td { (day(webhook.id).small()) }
                    td { (status(webhook)) }
                } } }
            } }
        }
    };
    Ok(page(&viewer, Tab::Integrations, "Integrations", &body))
}

/// `GET /settings/integrations/new`
pub async fn new(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
) -> Result<HttpResponse, PageError> {
    viewer.must_manage()?;
    let projects = dashboard.administration.projects(viewer.workspace()).await?;
    let body = html! {
        h2 { "Create New Webhook" }
        @if projects.is_empty() {
            (empty("A webhook belongs to a project", &html! { a href="/settings/projects" { "Create the first project" } ", then come back." }))
        } @else {
            form.stack method="post" action="/settings/integrations" {
                (csrf(&viewer))
                label { "Project"
                    select name="project" required { @for project in first_rows(&projects) { option value=(project.id) { (project.name) } } }
                }
                label { "Name"
                    span.hint { "For example: My Custom CRM" }
                    input name="name" required maxlength="100";
                }
                div { button { "Save" } " " a.button.plain href="/settings/integrations" { "Cancel" } }
            }
        }
    };
    Ok(page(&viewer, Tab::Integrations, "Create New Webhook", &body))
}

/// `POST /settings/integrations`
pub async fn create(
    dashboard: web::Data<Dashboard>,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    let viewer = &form.viewer;
    viewer.must_manage()?;
    let token = NewToken::generate();
    let new = NewWebhook {
        workspace_id: viewer.workspace(),
        project_id: form.fields.id("project")?.ok_or(PageError::NotFound)?,
        name: form.fields.name("name", "A webhook")?,
        creator_id: viewer.identity.member_id,
        token: token.presented,
    };
    let webhook = dashboard.administration.create_webhook(&new).await?;
    Ok(new_url(&dashboard, viewer, &webhook, &token, "is ready"))
}

/// The page that shows a URL with its token, only once: in the response to the form.
pub fn new_url(
    dashboard: &Dashboard,
    viewer: &Viewer,
    webhook: &Webhook,
    token: &NewToken,
    outcome: &str,
) -> HttpResponse {
    let url = ingress_url(&dashboard.ingress_url, token.reveal());
    let body = html! {
        h2 { (webhook.name) " " (outcome) }
        section.card aria-label="The webhook's URL" {
            p.strong { "Its URL, shown this once" }
            div.secret {
                code id="url" { (url) }
                button.js-only type="button" data-copy="url" { "Copy" }
            }
            p.warning {
                strong { "Important security note. " }
                "The URL contains a secret token and acts as your authentication key. Treat it like a "
                "password and do not expose it in public code repositories or client-side applications."
            }
        }
        h2 { "Send an activity" }
        (snippets::examples(&url))
        div.row {
            (test_button(viewer, webhook))
            a.button.plain href=(format!("/webhooks/{}", webhook.id)) { "See what arrives" }
        }
    };
    page(viewer, Tab::Integrations, &webhook.name, &body)
}

/// The button that publishes a test activity through the queue, like any other.
pub fn test_button(viewer: &Viewer, webhook: &Webhook) -> Markup {
    html! {
        form method="post" action=(format!("/webhooks/{}/test", webhook.id)) {
            (csrf(viewer))
            button { "Send test activity" }
        }
    }
}

pub fn status(webhook: &Webhook) -> Markup {
    match webhook.revoked_at {
        None => html! { span.badge.good { "active" } },
        Some(_) => html! { span.badge { "revoked" } },
    }
}
