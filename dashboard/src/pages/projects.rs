//! Workspace Settings › Projects.

use actix_web::{HttpRequest, HttpResponse, web};
use maud::html;
use trailpad_common::id::ProjectId;

use super::redirect;
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::{Tab, csrf, empty, first_rows, flash, page, time, truncation_warning};
use crate::session::{SignedForm, Viewer};
use crate::state::Dashboard;

/// `GET /settings/projects`
pub async fn list(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    request: HttpRequest,
) -> Result<HttpResponse, PageError> {
    let projects = dashboard.administration.projects(viewer.workspace()).await?;
    let body = html! {
        (flash(&Fields::parse(request.query_string().as_bytes())))
        p { "A project gathers the activities of its webhooks." }
        (truncation_warning(&projects, "trailpad project list"))
        @if projects.is_empty() {
            (empty("There is no project yet", &html! { "Create the first one below: a webhook is assigned to it." }))
        } @else {
            div.scroll { table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Created" } @if viewer.manages() { th scope="col" { "Rename" } } } }
                tbody { @for project in first_rows(&projects) { tr {
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
    Ok(page(&viewer, Tab::Projects, "Projects", &body))
}

/// `POST /settings/projects`
pub async fn create(
    dashboard: web::Data<Dashboard>,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    form.viewer.must_manage()?;
    let name = form.fields.name("name", "A project")?;
    dashboard.administration.create_project(form.viewer.workspace(), &name).await?;
    Ok(redirect("/settings/projects?done=created"))
}

/// `POST /settings/projects/{id}`
pub async fn rename(
    dashboard: web::Data<Dashboard>,
    id: web::Path<String>,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    form.viewer.must_manage()?;
    let id: ProjectId = id.parse().map_err(|_| PageError::NotFound)?;
    let name = form.fields.name("name", "A project")?;
    dashboard.administration.rename_project(form.viewer.workspace(), id, &name).await?;
    Ok(redirect("/settings/projects?done=renamed"))
}
