//! The viewer's own account: the password.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;
use trailpad_common::admin::Identity;

use super::redirect;
use super::sign_in::member_of;
use crate::error::PageError;
use crate::layout::{Place, csrf, notice, page};
use crate::password;
use crate::session::{SignedForm, Viewer};
use crate::state::Dashboard;

const NOT_CURRENT: &str = "That is not your current password: go back and write it again, or ask an \
    admin for a one-time link, which lets you set a new one without it";

/// Whether the current password has to be named: it proves that it is still the member who sits
/// there. Whoever came by a link may have forgotten it.
fn must_name_current(person: &Identity) -> bool {
    person.has_password && !person.by_link
}

/// `GET /account`
pub async fn show(viewer: Viewer, request: HttpRequest) -> HttpResponse {
    let (person, is_done) = (&viewer.person, request.query_string() == "done");
    let body = html! {
        h1 { "Account" }
        @if is_done { (notice("The password is set. Your other sessions have ended, and sign-in links of before.")) }
        dl.facts {
            dt { "E-mail address" } dd { (person.email) }
            dt { "Workspace" } dd { (person.workspace) }
            dt { "Role" } dd { (person.role.as_str()) }
        }
        h2 { @if person.has_password { "Change the password" } @else { "Set a password" } }
        form.stack method="post" action="/account" {
            (csrf(&viewer))
            input type="email" name="email" autocomplete="username" value=(person.email) hidden;
            @if must_name_current(person) {
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
    page(&viewer, Place::Account, "Account", &body)
}

/// `POST /account`
pub async fn set_password(
    dashboard: web::Data<Dashboard>,
    request: HttpRequest,
    post: SignedForm,
) -> Result<HttpResponse, PageError> {
    let password = post.fields.raw("password");
    if let Some(fault) = password::fault(password) {
        return Err(PageError::Refused(fault.to_owned()));
    }
    let person = &post.viewer.person;
    if must_name_current(person) {
        let (current, only) = (post.fields.raw("current"), Some(person.member_id));
        let member = member_of(&dashboard, &request, &person.email, current, only).await?;
        member.ok_or_else(|| PageError::Refused(NOT_CURRENT.into()))?;
    }
    let hash = password::hash(password.to_owned()).await?;
    let sign_in = &dashboard.stores.sign_in;
    sign_in.set_password(person.member_id, &hash, post.viewer.session).await?;
    Ok(redirect("/account?done"))
}
