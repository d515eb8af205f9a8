//! Finds records by the names that a user types.

use trailpad_common::admin::{Admin, AdminError, Missing, Workspace};
use trailpad_common::email::Email;
use trailpad_common::id::{MemberId, ProjectId};

pub async fn project_named(
    admin: &dyn Admin,
    workspace: &Workspace,
    name: &str,
) -> Result<ProjectId, AdminError> {
    let projects = admin.projects(workspace.id).await?;
    let found = projects.iter().find(|project| project.name == name);
    found.map(|project| project.id).ok_or_else(|| {
        let workspace = workspace.name.clone();
        Missing::Project { workspace, name: name.to_owned() }.into()
    })
}

pub async fn member_of(
    admin: &dyn Admin,
    workspace: &Workspace,
    email: &Email,
) -> Result<MemberId, AdminError> {
    let members = admin.members(workspace.id).await?;
    let found = members.iter().find(|member| member.email == *email);
    found.map(|member| member.id).ok_or_else(|| Missing::Member(email.clone()).into())
}
