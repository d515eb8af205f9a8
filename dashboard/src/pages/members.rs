//! Workspace Settings › Members: invite, change a role, remove.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::{Markup, html};
use trailpad_common::admin::{AdminError, DeadLetterFilter, Member, Role, one_time_link};
use trailpad_common::email::Email;

use super::redirect;
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::{
    COUNT_MAX, Tab, at_most, csrf, first_rows, flash, notice, page, time, truncation_warning,
};
use crate::session::{SignedForm, Viewer};
use crate::state::Dashboard;

const ROLES: [Role; 3] = [Role::Member, Role::Admin, Role::Owner];

/// `GET /settings/members`
pub async fn list(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let above = flash(&Fields::parse(request.query_string().as_bytes()));
    show(&dashboard, &viewer, &above).await
}

/// `POST /settings/members`: adds a member, or creates a new link for an existing one.
pub async fn invite(
    dashboard: web::Data<Dashboard>,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    let viewer = &form.viewer;
    viewer.must_manage()?;
    let email = form.fields.email("email")?;
    let mut is_member_already = false;
    if let Some(role) = role_of(&form) {
        may_give(viewer, role)?;
        match dashboard.administration.add_member(viewer.workspace(), &email, role).await {
            Ok(_) => {}
            Err(AdminError::Conflict(_)) => is_member_already = true,
            Err(error) => return Err(error.into()),
        }
    }
    may_change(&dashboard, viewer, &email).await?;
    let link = one_time_link(&*dashboard.administration, viewer.workspace(), &email).await?;
    let waiting = DeadLetterFilter {
        workspace_id: Some(viewer.workspace()),
        member_email: Some(email.clone()),
        ..DeadLetterFilter::default()
    };
    let waiting = dashboard.administration.count_dead_letters(&waiting, COUNT_MAX).await?;
    let url = format!("{}{link}", dashboard.dashboard_url);
    let above = html! {
        @if is_member_already { (notice(&format!("{email} is a member already; the role stays as it is."))) }
        (invited(&email, &url, waiting))
    };
    show(&dashboard, viewer, &above).await
}

/// `POST /settings/members/role`
pub async fn set_role(
    dashboard: web::Data<Dashboard>,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    form.viewer.must_manage()?;
    let email = form.fields.email("email")?;
    let role = role_of(&form).ok_or(PageError::NotFound)?;
    may_give(&form.viewer, role)?;
    may_change(&dashboard, &form.viewer, &email).await?;
    dashboard.administration.set_role(form.viewer.workspace(), &email, role).await?;
    Ok(redirect("/settings/members?done=role"))
}

/// `POST /settings/members/remove`
pub async fn remove(
    dashboard: web::Data<Dashboard>,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    form.viewer.must_manage()?;
    let email = form.fields.email("email")?;
    may_change(&dashboard, &form.viewer, &email).await?;
    dashboard.administration.end_member(form.viewer.workspace(), &email).await?;
    Ok(redirect("/settings/members?done=removed"))
}

fn role_of(form: &SignedForm) -> Option<Role> {
    form.fields.get("role").and_then(|name| name.parse().ok())
}

/// Only an owner may make somebody an owner.
fn may_give(viewer: &Viewer, role: Role) -> Result<(), PageError> {
    if role == Role::Owner && viewer.identity.role != Role::Owner {
        return Err(PageError::Rejected("Only an owner can make somebody an owner".into()));
    }
    Ok(())
}

/// Only an owner may change an owner, or create a link that signs in as one.
async fn may_change(
    dashboard: &Dashboard,
    viewer: &Viewer,
    email: &Email,
) -> Result<(), PageError> {
    let members = dashboard.administration.members(viewer.workspace()).await?;
    let member = members.iter().find(|member| member.email == *email);
    let member = member.ok_or(PageError::NotFound)?;
    if member.role == Role::Owner && viewer.identity.role != Role::Owner {
        return Err(PageError::Rejected("Only an owner can change an owner".into()));
    }
    Ok(())
}

async fn show(
    dashboard: &Dashboard,
    viewer: &Viewer,
    above: &Markup,
) -> Result<HttpResponse, PageError> {
    let members = dashboard.administration.members(viewer.workspace()).await?;
    let body = html! {
        (above)
        p { "An activity is assigned to the member that its memberEmail names." }
        (truncation_warning(&members, "trailpad member list"))
        div.scroll { table {
            thead { tr {
                th scope="col" { "E-mail address" } th scope="col" { "Role" } th scope="col" { "Since" }
                @if viewer.manages() { th scope="col" { "Sign-in" } th scope="col" { "Membership" } }
            } }
            tbody { @for member in first_rows(&members) { (row(viewer, member)) } }
        } }
        @if viewer.manages() {
            h2 { "Invite a member" }
            form.row method="post" action="/settings/members" {
                (csrf(viewer))
                label { "E-mail address" input type="email" name="email" required; }
                label { "Role" select name="role" { (role_options(viewer, Role::Member)) } }
                button { "Invite" }
            }
        }
    };
    Ok(page(viewer, Tab::Members, "Members", &body))
}

fn row(viewer: &Viewer, member: &Member) -> Markup {
    let email = &member.email;
    let may =
        viewer.manages() && (member.role != Role::Owner || viewer.identity.role == Role::Owner);
    html! { tr {
        td { a href=(format!("/activities?member={}", member.id)) { (email) } }
        td { @if may {
            form method="post" action="/settings/members/role" {
                (csrf(viewer))
                input type="hidden" name="email" value=(email);
                select name="role" aria-label=(format!("Role of {email}")) { (role_options(viewer, member.role)) }
                button.plain { "Set" }
            }
        } @else { (member.role.as_str()) } }
        td { (time(member.created_at)) }
        @if viewer.manages() {
            td { @if may {
                form method="post" action="/settings/members" {
                    (csrf(viewer))
                    input type="hidden" name="email" value=(email);
                    button.plain aria-label=(format!("New sign-in link for {email}")) { "New sign-in link" }
                }
            } }
            td { @if may {
                details {
                    summary aria-label=(format!("Remove {email}")) { "Remove" }
                    form method="post" action="/settings/members/remove" {
                        (csrf(viewer))
                        input type="hidden" name="email" value=(email);
                        button.danger { "Remove from the workspace" }
                    }
                }
            } }
        }
    } }
}

fn role_options(viewer: &Viewer, chosen: Role) -> Markup {
    html! {
        @for role in ROLES {
            @if role != Role::Owner || viewer.identity.role == Role::Owner {
                option value=(role.as_str()) selected[role == chosen] { (role.as_str()) }
            }
        }
    }
}

fn invited(email: &Email, url: &str, waiting: u64) -> Markup {
    html! {
        section.card aria-label="Invitation" {
            h2 { "Send this link to " (email) }
            p { "It signs in once, within three days, and is shown this once." }
            div.secret {
                code id="link" { (url) }
                button.js-only type="button" data-copy="link" { "Copy" }
            }
            @if waiting > 0 {
                p.warning {
                    (at_most(waiting)) (if waiting == 1 { " dead letter waits" } else { " dead letters wait" }) " for this address. "
                    a href=(format!("/dead-letters?{}", Fields::default().with("member", Some(email.as_str())))) { "Look at them and replay them" } "."
                }
            }
        }
    }
}
