//! `trailpad webhook …`

use clap::{Args, Subcommand};
use trailpad_common::admin::{NewWebhook, Webhook};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::ingress_url;
use trailpad_common::webhook::token::NewToken;

use super::admin;
use crate::args::parse::{duration, email, nonblank, webhook_id};
use crate::args::{CommandArgs, UrlArgs, WorkspaceArg};
use crate::engines::administration;
use crate::error::Error;
use crate::render::{self, Shown};

#[derive(Subcommand)]
pub enum WebhookCommand {
    /// Create a webhook and print its URL, which holds the secret token, once
    Create(CreateArgs),
    /// List webhooks, revoked ones included; never their tokens
    List {
        /// Only webhooks of this workspace
        #[arg(long, env = "TRAILPAD_WORKSPACE")]
        workspace: Option<String>,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Give a webhook a new token and print its URL, once
    Rotate(RotateArgs),
    /// Revoke a webhook permanently; activities it accepted before are still stored
    Revoke {
        /// The webhook's id
        id: String,
        #[command(flatten)]
        args: CommandArgs,
    },
}

#[derive(Args)]
pub struct CreateArgs {
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// The project its activities belong to
    #[arg(long, env = "TRAILPAD_PROJECT")]
    project: String,
    /// The webhook's name, such as "My Custom CRM"
    #[arg(long, env = "TRAILPAD_NAME")]
    name: String,
    /// The member to whom activities without memberEmail are assigned
    #[arg(long, env = "TRAILPAD_CREATOR", value_name = "EMAIL")]
    creator: String,
    #[command(flatten)]
    url: UrlArgs,
    #[command(flatten)]
    args: CommandArgs,
}

#[derive(Args)]
pub struct RotateArgs {
    /// The webhook's id
    id: String,
    /// How long the old token stays valid
    #[arg(long, env = "TRAILPAD_GRACE", default_value = "0s", value_name = "TIME")]
    grace: String,
    #[command(flatten)]
    url: UrlArgs,
    #[command(flatten)]
    args: CommandArgs,
}

pub async fn run(command: WebhookCommand) -> Result<(), Error> {
    match command {
        WebhookCommand::Create(new) => create(new).await,
        WebhookCommand::List { workspace, args } => list(workspace, &args).await,
        WebhookCommand::Rotate(rotation) => rotate(rotation).await,
        WebhookCommand::Revoke { id, args } => {
            let webhook = administration(&args.store)?.revoke_webhook(webhook_id(&id)?).await?;
            render::one(args.json, Shown::webhook(&webhook));
            Ok(())
        }
    }
}

async fn create(new: CreateArgs) -> Result<(), Error> {
    let CreateArgs { workspace, project, name, creator, url, args } = new;
    let admin = administration(&args.store)?;
    let token = NewToken::generate();
    let name = nonblank("name", &name)?.to_owned();
    let creator = email(&creator)?;
    let workspace = admin.workspace(&workspace.workspace).await?;
    let new = NewWebhook {
        workspace_id: workspace.id,
        project_id: admin::project_named(&*admin, &workspace, &project).await?,
        creator_id: admin::member_of(&*admin, &workspace, &creator).await?,
        name,
        token: token.presented,
    };
    let webhook = admin.create_webhook(&new).await?;
    show_url(args.json, &webhook, &url.public_url, &token);
    Ok(())
}

async fn list(workspace: Option<String>, args: &CommandArgs) -> Result<(), Error> {
    let admin = administration(&args.store)?;
    let workspace = match workspace {
        Some(name) => Some(admin.workspace(&name).await?.id),
        None => None,
    };
    let webhooks = admin.webhooks(workspace).await?;
    let hint = "There are no webhooks: create one with `trailpad webhook create`.";
    render::many(args.json, webhooks.iter().map(Shown::webhook), hint);
    Ok(())
}

async fn rotate(rotation: RotateArgs) -> Result<(), Error> {
    let RotateArgs { id, grace, url, args } = rotation;
    let id = webhook_id(&id)?;
    let grace = duration("grace", &grace)?;
    let admin = administration(&args.store)?;
    let webhook = admin.webhook(id).await?;
    let token = NewToken::for_public_id(webhook.public_id);
    let until = Timestamp::now() + grace;
    let webhook = admin.rotate_webhook(id, webhook.revision, token.presented, until).await?;
    show_url(args.json, &webhook, &url.public_url, &token);
    Ok(())
}

/// No other command prints a token. The token can't be read back later.
fn show_url(json: bool, webhook: &Webhook, public_url: &str, token: &NewToken) {
    let url = ingress_url(public_url, token.reveal());
    render::one(json, Shown::webhook_with_url(webhook, &url));
}
