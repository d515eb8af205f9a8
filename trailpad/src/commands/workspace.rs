//! `trailpad workspace …`

use clap::Subcommand;

use crate::args::CommandArgs;
use crate::args::parse::{email, nonblank};
use crate::engines::administration;
use crate::error::Error;
use crate::render::{self, Shown};

#[derive(Subcommand)]
pub enum WorkspaceCommand {
    /// Create a workspace and its owner
    Create {
        /// The workspace's name
        #[arg(long, env = "TRAILPAD_NAME")]
        name: String,
        /// The owner's e-mail address
        #[arg(long, env = "TRAILPAD_OWNER", value_name = "EMAIL")]
        owner: String,
        #[command(flatten)]
        args: CommandArgs,
    },
}

pub async fn run(command: WorkspaceCommand) -> Result<(), Error> {
    let WorkspaceCommand::Create { name, owner, args } = command;
    let owner = email(&owner)?;
    let admin = administration(&args.store)?;
    let (workspace, owner) = admin.create_workspace(nonblank("name", &name)?, &owner).await?;
    render::one(args.json, Shown::workspace(&workspace, &owner));
    Ok(())
}
