//! The viewer's account: setting a password.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;
use trailpad_common::admin::Identity;

use super::redirect;
use super::sign_in::member_of;
use crate::error::PageError;
use crate::layout::{Tab, csrf, notice, page};
use crate::password;
use crate::session::{SignedForm, Viewer};
use crate::state::Dashboard;

const NOT_CURRENT: &str = "That is not your current password: go back and write it again, or ask an \
    admin for a one-time link, which lets you set a new one without it";

/// `true` if the form must contain the current password: it proves that the member sends the form,
/// not somebody else with their session. A member who signed in by a link may have forgotten it.
fn needs_current(identity: &Identity) -> bool {
    identity.has_password && !identity.by_link
}

/// `GET /account`
pub async fn show(viewer: Viewer, request: HttpRequest) -> HttpResponse {
    let identity = &viewer.identity;
    let is_done = request.query_string() == "done";
    let body = html! {
        h1 { "Account" }
        @if is_done { (notice("The password is set. Your other sessions have ended, and sign-in links of before.")) }
        dl.facts {
            dt { "E-mail address" } dd { (identity.email) }
            dt { "Workspace" } dd { (identity.workspace) }
            dt { "Role" } dd { (identity.role.as_str()) }
        }
        h2 { @if identity.has_password { "Change the password" } @else { "Set a password" } }
        form.stack method="post" action="/account" {
            (csrf(&viewer))
            input type="email" name="email" autocomplete="username" value=(identity.email) hidden;
            @if needs_current(identity) {
                label { "Current password"
                    input type="password" name="current" autocomplete="current-password" maxlength="256" required;
                }
            }
            label { "New password"
                span.hint { "At least 12 characters: a few words make a good one." }
                input type="password" name="password" autocomplete="new-password" minlength="12" maxlength="256" required;
            }
            div { button { "Set the password" } }
        }
    };
    page(&viewer, Tab::Account, "Account", &body)
}

/// `POST /account`
pub async fn set_password(
    dashboard: web::Data<Dashboard>,
    request: HttpRequest,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    let password = form.fields.raw("password");
    if let Some(fault) = password::fault(password) {
        return Err(PageError::Rejected(fault.to_owned()));
    }
    let identity = &form.viewer.identity;
    if needs_current(identity) {
        let current = form.fields.raw("current");
        let only = Some(identity.member_id);
        let member = member_of(&dashboard, &request, &identity.email, current, only).await?;
        member.ok_or_else(|| PageError::Rejected(NOT_CURRENT.into()))?;
    }
    let hash = password::hash(password.to_owned()).await?;
    let sign_in = &dashboard.administration;
    sign_in.set_password(identity.member_id, &hash, form.viewer.session).await?;
    Ok(redirect("/account?done"))
}
