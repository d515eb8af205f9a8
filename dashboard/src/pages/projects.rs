//! Workspace Settings › Projects.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;
use trailpad_common::id::ProjectId;

use super::redirect;
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::{Place, csrf, done, empty, not_all_shown, page, shown, time};
use crate::session::{SignedForm, Viewer};
use crate::state::Dashboard;

/// `GET /settings/projects`
pub async fn list(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let projects = dashboard.stores.admin.projects(viewer.workspace()).await?;
    let body = html! {
        (done(&Fields::parse(request.query_string().as_bytes())))
        p { "A project gathers the activities of its webhooks." }
        (not_all_shown(&projects, "trailpad project list"))
        @if projects.is_empty() {
            (empty("There is no project yet", &html! { "Create the first one below: a webhook is assigned to it." }))
        } @else {
            div.scroll { table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Created" } @if viewer.manages() { th scope="col" { "Rename" } } } }
                tbody { @for project in shown(&projects) { tr {
                    td { a href=(format!("/activities?project={}", project.id)) { (project.name) } }
                    td { (time(project.created_at)) }
                    @if viewer.manages() { td {
                        form method="post" action=(format!("/settings/projects/{}", project.id)) {
                            (csrf(&viewer))
                            input name="name" required maxlength="100" value=(project.name) aria-label=(format!("New name of {}", project.name));
                            button.plain { "Rename" }
                        }
                    } }
                } } }
            } }
        }
        @if viewer.manages() {
            h2 { "Create a project" }
            form.row method="post" action="/settings/projects" {
                (csrf(&viewer))
                label { "Name" input name="name" required maxlength="100"; }
                button { "Create project" }
            }
        }
    };
    Ok(page(&viewer, Place::Projects, "Projects", &body))
}

/// `POST /settings/projects`
pub async fn create(
    dashboard: web::Data<Dashboard>,
    post: SignedForm,
) -> Result<HttpResponse, PageError> {
    post.viewer.must_manage()?;
    let name = post.fields.name("name", "A project")?;
    dashboard.stores.admin.create_project(post.viewer.workspace(), &name).await?;
    Ok(redirect("/settings/projects?done=created"))
}

/// `POST /settings/projects/{id}`
pub async fn rename(
    dashboard: web::Data<Dashboard>,
    id: web::Path<String>,
    post: SignedForm,
) -> Result<HttpResponse, PageError> {
    post.viewer.must_manage()?;
    let id: ProjectId = id.parse().map_err(|_| PageError::NotFound)?;
    let name = post.fields.name("name", "A project")?;
    dashboard.stores.admin.rename_project(post.viewer.workspace(), id, &name).await?;
    Ok(redirect("/settings/projects?done=renamed"))
}
