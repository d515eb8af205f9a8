//! Dead letters, for owners and admins: list, show, replay, discard.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use trailpad_common::admin::{Cursor, DeadLetterFilter, DeadLetterState, Page, StoredDeadLetter};
use trailpad_common::failure::Reason;
use trailpad_common::id::WebhookId;
use trailpad_common::timestamp::Timestamp;

use super::dead_letter_actions::outcome_sentence;
use super::pretty::pretty;
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::{COUNT_MAX, Tab, at_most, csrf, empty, first_options, notice, page, time};
use crate::session::Viewer;
use crate::state::Dashboard;

const PAGE_ROWS: u32 = 50;

/// `GET /dead-letters`
pub async fn list(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    viewer.must_manage()?;
    let fields = Fields::parse(request.query_string().as_bytes());
    let filter = filter(&viewer, &fields)?;
    let store = &dashboard.administration;
    // Taken before the list is read: an action on all must not include newer ones.
    let seen = Timestamp::now();
    let after = fields.cursor("after")?;
    let wanted = Page { after, limit: PAGE_ROWS + 1, with_payload: false };
    let mut letters = store.dead_letters(&filter, wanted).await?;
    let has_more = letters.len() > PAGE_ROWS as usize;
    letters.truncate(PAGE_ROWS as usize);
    let open = DeadLetterFilter { with_ended: false, ..filter };
    let count = store.count_dead_letters(&open, COUNT_MAX).await?;
    let older = letters.last().filter(|_| has_more);
    let older = older.map(|last| Cursor { at: last.dead_at, id: last.id }.to_string());
    let filters = filters(&dashboard, &viewer, &fields).await?;
    let body = html! {
        h1 { "Dead letters" }
        p.soft { "Activities that could not be stored. Mend the cause, then replay them: a replayed activity keeps its id, so nothing is stored twice." }
        @if let Some(outcome) = fields.get("done").and_then(outcome_sentence) { (notice(&outcome)) }
        (filters)
        @if letters.is_empty() {
            @if ["webhook", "reason", "member"].iter().any(|name| fields.get(name).is_some()) {
                (empty("No dead letter matches", &html! { "Use fewer filters, or include closed ones." }))
            } @else {
                (empty("There are no dead letters", &html! { "Everything that was accepted is stored, or on its way: what fails is tried again, by default for eleven minutes, before it comes here." }))
            }
        } @else {
            form method="post" action="/dead-letters" {
                (csrf(&viewer))
                input type="hidden" name="query" value=(fields.with("after", None));
                input type="hidden" name="seen" value=(seen);
                (table(&letters))
                div.row {
                    button name="do" value="replay" { "Replay selected" }
                    button.plain name="do" value="discard" { "Discard selected" }
                    @if count > 1 {
                        details {
                            summary { "All " (at_most(count)) " that match" }
                            div.row {
                                button.plain name="do" value="replay-all" { "Replay all " (at_most(count)) }
                                button.danger name="do" value="discard-all" { "Discard all " (at_most(count)) }
                            }
                        }
                    }
                }
            }
        }
        nav.pager aria-label="Pages" {
            @if after.is_some() { a href=(format!("/dead-letters?{}", fields.with("after", None))) { "← Latest" } } @else { span {} }
            @if let Some(older) = older { a href=(format!("/dead-letters?{}", fields.with("after", Some(&older)))) rel="next" { "Older →" } }
        }
    };
    Ok(page(&viewer, Tab::DeadLetters, "Dead letters", &body))
}

/// `GET /dead-letters/{id}`
pub async fn show(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    id: web::Path<String>,
) -> Result<HttpResponse, PageError> {
    viewer.must_manage()?;
    let filter = DeadLetterFilter {
        id: Some(id.parse().map_err(|_| PageError::NotFound)?),
        with_ended: true,
        ..of_workspace(&viewer)
    };
    let wanted = Page { after: None, limit: 1, with_payload: true };
    let letters = dashboard.administration.dead_letters(&filter, wanted).await?;
    let letter = letters.into_iter().next().ok_or(PageError::NotFound)?;
    let payload = letter.payload.as_deref().unwrap_or_default();
    let is_stored = dashboard.administration.activity(viewer.workspace(), letter.id).await.is_ok();
    let body = html! {
        p { a href="/dead-letters" { "← Dead letters" } }
        h1 { "Dead letter" }
        section.card { dl.facts {
            dt { "State" } dd { (state(letter.state)) }
            dt { "Reason" } dd { (letter.reason) }
            dt { "Error" } dd { (letter.error) }
            dt { "Attempts" } dd { (letter.attempts) }
            @if let Some(email) = &letter.member_email { dt { "Member" } dd { (email) } }
            @if let Some(external_id) = &letter.external_id { dt { "External id" } dd { code { (external_id) } } }
            @if let Some(webhook) = letter.webhook_id { dt { "Webhook" } dd { a href=(format!("/webhooks/{webhook}")) { "the webhook" } } }
            @if let Some(at) = letter.received_at { dt { "Received" } dd { (time(at)) } }
            dt { "Failed at" } dd { (time(letter.dead_at)) }
            dt { "Id" } dd { code { (letter.id) } }
        } }
        @match letter.state {
            DeadLetterState::Open => form.row method="post" action="/dead-letters" {
                (csrf(&viewer))
                input type="hidden" name="id" value=(letter.id);
                button name="do" value="replay" { "Replay" }
                button.plain name="do" value="discard" { "Discard" }
            },
            DeadLetterState::Replayed => p { "It was given to the queue once more: it is stored shortly, or comes back here with its reason." },
            DeadLetterState::Discarded => p { "Discarded by a member." },
            DeadLetterState::Settled if is_stored => p { a href=(format!("/activities/{}", letter.id)) { "See the stored activity" } },
            DeadLetterState::Settled => p { "Another activity with the same external id is stored in its place." },
        }
        h2 { "Payload" }
        pre tabindex="0" { code { (pretty(&String::from_utf8_lossy(payload))) } }
    };
    Ok(page(&viewer, Tab::DeadLetters, "Dead letter", &body))
}

/// Matches the open dead letters of the viewer's workspace.
pub fn of_workspace(viewer: &Viewer) -> DeadLetterFilter {
    DeadLetterFilter { workspace_id: Some(viewer.workspace()), ..DeadLetterFilter::default() }
}

/// Parses the query string.
pub fn filter(viewer: &Viewer, fields: &Fields) -> Result<DeadLetterFilter, PageError> {
    Ok(DeadLetterFilter {
        webhook_id: fields.id("webhook")?,
        reason: fields.get("reason").map(str::to_owned),
        member_email: fields.get("member").map(|_| fields.email("member")).transpose()?,
        with_ended: fields.get("ended").is_some(),
        ..of_workspace(viewer)
    })
}

async fn filters(
    dashboard: &Dashboard,
    viewer: &Viewer,
    fields: &Fields,
) -> Result<Markup, PageError> {
    let webhooks = dashboard.administration.webhooks(Some(viewer.workspace())).await?;
    let webhook = fields.id::<WebhookId>("webhook")?;
    let reason = fields.get("reason");
    Ok(html! {
        form.row method="get" action="/dead-letters" role="search" {
            label { "Webhook" select name="webhook" {
                option value="" { "All webhooks" }
                @for w in first_options(&webhooks, |w| Some(w.id) == webhook) { option value=(w.id) selected[Some(w.id) == webhook] { (w.name) } }
            } }
            label { "Reason" select name="reason" {
                option value="" { "All reasons" }
                @for r in Reason::ALL { option selected[reason == Some(r.as_str())] { (r.as_str()) } }
            } }
            label { "Member" input type="email" name="member" value=[fields.get("member")]; }
            label { "Show" select name="ended" {
                option value="" { "open ones" } option value="1" selected[fields.get("ended").is_some()] { "ended ones too" }
            } }
            button.plain { "Show" }
        }
    })
}

fn table(letters: &[StoredDeadLetter]) -> Markup {
    html! { div.scroll { table {
        thead { tr {
            th scope="col" { input.js-only type="checkbox" data-all="id" aria-label="Select all of this page"; }
            th scope="col" { "Failed at" } th scope="col" { "Reason" } th scope="col" { "Error" }
            th scope="col" { "Member" } th scope="col" { "Attempts" } th scope="col" { "State" }
        } }
        tbody { @for letter in letters { tr {
            td { input type="checkbox" name="id" value=(letter.id) aria-label=(format!("Select {}", letter.id)); }
            td { a href=(format!("/dead-letters/{}", letter.id)) { (time(letter.dead_at)) } }
            td.tight { (letter.reason) }
            td.wide { (letter.error) }
            td { @if let Some(email) = &letter.member_email { (email) } }
            td.number { (letter.attempts) }
            td { (state(letter.state)) }
        } } }
    } } }
}

fn state(state: DeadLetterState) -> Markup {
    let class = match state {
        DeadLetterState::Open => "bad",
        DeadLetterState::Replayed => "warn",
        DeadLetterState::Settled => "good",
        DeadLetterState::Discarded => "",
    };
    html! { span.badge.(class) { (state.as_str()) } }
}
