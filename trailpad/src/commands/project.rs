//! `trailpad project …`

use clap::Subcommand;

use crate::args::parse::nonblank;
use crate::args::{CommandArgs, WorkspaceArg};
use crate::engines::administration;
use crate::error::Error;
use crate::render::{self, Shown};

#[derive(Subcommand)]
pub enum ProjectCommand {
    /// Create a project
    Create {
        #[command(flatten)]
        workspace: WorkspaceArg,
        /// The project's name
        #[arg(long, env = "TRAILPAD_NAME")]
        name: String,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// List the projects of a workspace
    List {
        #[command(flatten)]
        workspace: WorkspaceArg,
        #[command(flatten)]
        args: CommandArgs,
    },
}

pub async fn run(command: ProjectCommand) -> Result<(), Error> {
    match command {
        ProjectCommand::Create { workspace: WorkspaceArg { workspace }, name, args } => {
            let admin = administration(&args.store)?;
            let name = nonblank("name", &name)?;
            let workspace = admin.workspace(&workspace).await?;
            let project = admin.create_project(workspace.id, name).await?;
            render::one(args.json, Shown::project(&project));
        }
        ProjectCommand::List { workspace: WorkspaceArg { workspace }, args } => {
            let admin = administration(&args.store)?;
            let workspace = admin.workspace(&workspace).await?;
            let projects = admin.projects(workspace.id).await?;
            let hint = "There are no projects: create one with `trailpad project create`.";
            render::many(args.json, projects.iter().map(Shown::project), hint);
        }
    }
    Ok(())
}
