//! The viewer's own account: the password.

use actix_web::{HttpResponse, web};
use maud::html;

use super::see;
use crate::error::PageError;
use crate::layout::{Place, csrf, notice, page};
use crate::password;
use crate::session::{Post, Viewer};
use crate::state::Dashboard;

/// `GET /account`
pub async fn show(viewer: Viewer, request: actix_web::HttpRequest) -> HttpResponse {
    let (person, is_done) = (&viewer.person, request.query_string() == "done");
    let body = html! {
        h1 { "Account" }
        @if is_done { (notice("The password is set. Your other sessions have ended.")) }
        dl.facts {
            dt { "E-mail address" } dd { (person.email) }
            dt { "Workspace" } dd { (person.workspace) }
            dt { "Role" } dd { (person.role.as_str()) }
        }
        h2 { @if person.has_password { "Change the password" } @else { "Set a password" } }
        form.stack method="post" action="/account" {
            (csrf(&viewer))
            input type="email" name="email" autocomplete="username" value=(person.email) hidden;
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
    post: Post,
) -> Result<HttpResponse, PageError> {
    let password = post.fields.raw("password");
    if let Some(fault) = password::fault(password) {
        return Err(PageError::Refused(fault.to_owned()));
    }
    let hash = password::hash(password.to_owned()).await?;
    let (member, session) = (post.viewer.person.member_id, post.viewer.session);
    dashboard.stores.sign_in.set_password(member, &hash, session).await?;
    Ok(see("/account?done"))
}
