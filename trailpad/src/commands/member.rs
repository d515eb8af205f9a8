//! `trailpad member …`

use clap::{Args, Subcommand};
use trailpad_common::admin::{DeadLetterFilter, Role, Workspace, one_time_link};
use trailpad_common::email::Email;
use trailpad_common::failure::Reason;

use crate::args::parse::email;
use crate::args::{CommandArgs, WorkspaceArg};
use crate::engines::administration;
use crate::error::Error;
use crate::hint;
use crate::render::{self, Shown};

#[derive(Subcommand)]
pub enum MemberCommand {
    /// Add a member; activities with this memberEmail are then theirs
    Add(AddArgs),
    /// Print a link that signs a member in to the dashboard, once and within three days
    Invite(InviteArgs),
    /// List the members of a workspace
    List {
        #[command(flatten)]
        workspace: WorkspaceArg,
        #[command(flatten)]
        args: CommandArgs,
    },
}

#[derive(Args)]
pub struct AddArgs {
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// The member's e-mail address
    #[arg(long, env = "TRAILPAD_EMAIL")]
    email: String,
    /// owner, admin or member
    #[arg(long, default_value = "member", value_parser = ["owner", "admin", "member"])]
    role: String,
    #[command(flatten)]
    args: CommandArgs,
}

#[derive(Args)]
pub struct InviteArgs {
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// The member's e-mail address
    #[arg(long, env = "TRAILPAD_EMAIL")]
    email: String,
    /// The URL under which people reach the dashboard
    #[arg(
        long,
        env = "TRAILPAD_DASHBOARD_URL",
        default_value = "http://127.0.0.1:8090",
        value_name = "URL"
    )]
    dashboard_url: String,
    #[command(flatten)]
    args: CommandArgs,
}

pub async fn run(command: MemberCommand) -> Result<(), Error> {
    match command {
        MemberCommand::Add(new) => add(new).await,
        MemberCommand::Invite(invitation) => invite(invitation).await,
        MemberCommand::List { workspace, args } => list(&workspace.workspace, &args).await,
    }
}

async fn add(new: AddArgs) -> Result<(), Error> {
    let AddArgs { workspace: WorkspaceArg { workspace }, email: address, role, args } = new;
    let role = role.parse().unwrap_or(Role::Member);
    let admin = administration(&args.store)?;
    let address = email(&address)?;
    let workspace = admin.workspace(&workspace).await?;
    let member = admin.add_member(workspace.id, &address, role).await?;
    let waiting = dead_letters_hint(&args, &workspace, address).await?;
    render::one(args.json, Shown::member(&member).with_hint(waiting));
    Ok(())
}

async fn invite(invitation: InviteArgs) -> Result<(), Error> {
    let InviteArgs { workspace: WorkspaceArg { workspace }, email: address, dashboard_url, args } =
        invitation;
    let admin = administration(&args.store)?;
    let address = email(&address)?;
    let workspace = admin.workspace(&workspace).await?;
    let path = one_time_link(&*admin, workspace.id, &address).await?;
    let link = format!("{}{path}", dashboard_url.trim_end_matches('/'));
    render::one(args.json, Shown::invitation(&address, &link));
    Ok(())
}

async fn list(workspace: &str, args: &CommandArgs) -> Result<(), Error> {
    let admin = administration(&args.store)?;
    let workspace = admin.workspace(workspace).await?;
    let members = admin.members(workspace.id).await?;
    let hint = "There are no members: add one with `trailpad member add`.";
    render::many(args.json, members.iter().map(Shown::member), hint);
    Ok(())
}

/// Counts the dead letters that wait for a member who was just added, and names the command that
/// replays them. `None` if no dead letter waits.
async fn dead_letters_hint(
    args: &CommandArgs,
    workspace: &Workspace,
    address: Email,
) -> Result<Option<String>, Error> {
    let filter = DeadLetterFilter {
        workspace_id: Some(workspace.id),
        member_email: Some(address.clone()),
        reason: Some(Reason::UnknownMember.as_str().to_owned()),
        ..DeadLetterFilter::default()
    };
    let count = administration(&args.store)?.count_dead_letters(&filter, u32::MAX).await?;
    if count == 0 {
        return Ok(None);
    }
    let workspace = &workspace.name;
    let words = format!("dead-letter replay --workspace {workspace:?} --member {address}");
    Ok(Some(format!(
        "{count} dead {} for this member. To store what waits:\n\n  {}",
        if count == 1 { "letter waits" } else { "letters wait" },
        hint::command(&args.store, &words)
    )))
}
