//! Workspace Settings › General.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;

use super::redirect;
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::{Tab, csrf, flash, page};
use crate::session::{SignedForm, Viewer};
use crate::state::Dashboard;

/// `GET /settings`
pub async fn show(viewer: Viewer, request: HttpRequest) -> HttpResponse {
    let body = html! {
        (flash(&Fields::parse(request.query_string().as_bytes())))
        @if viewer.manages() {
            form.stack method="post" action="/settings" {
                (csrf(&viewer))
                label { "Name of the workspace"
                    input name="name" required maxlength="100" value=(viewer.identity.workspace);
                }
                div { button { "Save" } }
            }
        } @else {
            dl.facts { dt { "Name of the workspace" } dd { (viewer.identity.workspace) } }
        }
    };
    page(&viewer, Tab::General, "Workspace Settings", &body)
}

/// `POST /settings`
pub async fn rename(
    dashboard: web::Data<Dashboard>,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    form.viewer.must_manage()?;
    let name = form.fields.name("name", "A workspace")?;
    dashboard.administration.rename_workspace(form.viewer.workspace(), &name).await?;
    Ok(redirect("/settings?done=renamed"))
}
