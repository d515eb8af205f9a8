//! Workspace Settings › General.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;

use super::redirect;
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::{Place, csrf, done, page};
use crate::session::{SignedForm, Viewer};
use crate::state::Dashboard;

/// `GET /settings`
pub async fn show(viewer: Viewer, request: HttpRequest) -> HttpResponse {
    let body = html! {
        (done(&Fields::parse(request.query_string().as_bytes())))
        @if viewer.manages() {
            form.stack method="post" action="/settings" {
                (csrf(&viewer))
                label { "Name of the workspace"
                    input name="name" required maxlength="100" value=(viewer.person.workspace);
                }
                div { button { "Save" } }
            }
        } @else {
            dl.facts { dt { "Name of the workspace" } dd { (viewer.person.workspace) } }
        }
    };
    page(&viewer, Place::General, "Workspace Settings", &body)
}

/// `POST /settings`
pub async fn rename(
    dashboard: web::Data<Dashboard>,
    post: SignedForm,
) -> Result<HttpResponse, PageError> {
    post.viewer.must_manage()?;
    let name = post.fields.name("name", "A workspace")?;
    dashboard.stores.admin.rename_workspace(post.viewer.workspace(), &name).await?;
    Ok(redirect("/settings?done=renamed"))
}
