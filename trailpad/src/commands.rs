//! The commands that look and change: ask the administration, print the answer.

use std::time::Duration;

use trailpad_common::admin::{
    ActivityFilter, Admin, AdminError, NewWebhook, Role, Webhook, Workspace, one_time_link,
};
use trailpad_common::email::Email;
use trailpad_common::id::{MemberId, ProjectId, WebhookId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::token::NewToken;
use trailpad_engines::postgres;

use crate::cli::{
    ActivityCommand, CommandArgs, MemberCommand, MigrateArgs, ProjectCommand, WebhookCommand,
    WorkspaceCommand,
};
use crate::config::{self, StoreEngine};
use crate::dead_letters;
use crate::engines;
use crate::error::Error;
use crate::render::{self, Shown};

type Done = Result<(), Error>;

/// `trailpad migrate`
pub async fn migrate(args: MigrateArgs) -> Done {
    let (store, data_dir) = (config::store(&args.store)?, config::data_dir(&args.store));
    let applied = match store {
        StoreEngine::Postgres(config) => postgres::migrate(&config).await?,
        StoreEngine::Sqlite => {
            let lock = data_dir.lock()?;
            [data_dir.migrate_queue(&lock)?, data_dir.migrate_store(&lock)?].concat()
        }
    };
    if applied.is_empty() {
        println!("The schema is up to date.");
    }
    for migration in applied {
        println!("Applied {migration}.");
    }
    Ok(())
}

/// `trailpad workspace …`
pub async fn workspace(command: WorkspaceCommand) -> Done {
    match command {
        WorkspaceCommand::Create { name, owner, args } => {
            let owner = email(&owner)?;
            let (workspace, owner) =
                admin(&args)?.create_workspace(nonblank("name", &name)?, &owner).await?;
            render::one(args.json, Shown::workspace(&workspace, &owner));
        }
    }
    Ok(())
}

/// `trailpad member …`
pub async fn member(command: MemberCommand) -> Done {
    match command {
        MemberCommand::Add { workspace, email: address, role, args } => {
            let role = Role::named(&role).unwrap_or(Role::Member);
            let (admin, address) = (admin(&args)?, email(&address)?);
            let workspace = admin.workspace(&workspace).await?;
            let member = admin.add_member(workspace.id, &address, role).await?;
            let waiting = dead_letters::waiting_for(&args, &workspace, address).await?;
            render::one(args.json, Shown::member(&member).with_hint(waiting));
        }
        MemberCommand::Invite { workspace, email: address, dashboard_url, args } => {
            let (store, data_dir) = (config::store(&args.store)?, config::data_dir(&args.store));
            let sign_in = engines::sign_in(&store, &data_dir)?;
            let email = email(&address)?;
            let workspace = admin(&args)?.workspace(&workspace).await?;
            let path = one_time_link(&*sign_in, workspace.id, &email).await?;
            let link = format!("{}{path}", dashboard_url.trim_end_matches('/'));
            render::one(args.json, Shown::invitation(&email, &link));
        }
        MemberCommand::List { workspace, args } => {
            let admin = admin(&args)?;
            let members = admin.members(admin.workspace(&workspace).await?.id).await?;
            let hint = "There are no members: add one with `trailpad member add`.";
            render::many(args.json, members.iter().map(Shown::member), hint);
        }
    }
    Ok(())
}

/// `trailpad project …`
pub async fn project(command: ProjectCommand) -> Done {
    match command {
        ProjectCommand::Create { workspace, name, args } => {
            let (admin, name) = (admin(&args)?, nonblank("name", &name)?);
            let workspace = admin.workspace(&workspace).await?;
            let project = admin.create_project(workspace.id, name).await?;
            render::one(args.json, Shown::project(&project));
        }
        ProjectCommand::List { workspace, args } => {
            let admin = admin(&args)?;
            let projects = admin.projects(admin.workspace(&workspace).await?.id).await?;
            let hint = "There are no projects: make one with `trailpad project create`.";
            render::many(args.json, projects.iter().map(Shown::project), hint);
        }
    }
    Ok(())
}

/// `trailpad webhook …`
pub async fn webhook(command: WebhookCommand) -> Done {
    match command {
        WebhookCommand::Create { workspace, project, name, creator, url, args } => {
            let (admin, token) = (admin(&args)?, NewToken::generate());
            let name = nonblank("name", &name)?.to_owned();
            let creator = email(&creator)?;
            let workspace = admin.workspace(&workspace).await?;
            let new = NewWebhook {
                workspace_id: workspace.id,
                project_id: project_named(&*admin, &workspace, &project).await?,
                creator_id: member_of(&*admin, &workspace, &creator).await?,
                name,
                token: token.presented,
            };
            let webhook = admin.create_webhook(&new).await?;
            show_url(args.json, &webhook, &url.public_url, &token);
        }
        WebhookCommand::List { workspace, args } => {
            let admin = admin(&args)?;
            let workspace = match workspace {
                Some(name) => Some(admin.workspace(&name).await?.id),
                None => None,
            };
            let webhooks = admin.webhooks(workspace).await?;
            let hint = "There are no webhooks: make one with `trailpad webhook create`.";
            render::many(args.json, webhooks.iter().map(Shown::webhook), hint);
        }
        WebhookCommand::Rotate { id, grace, url, args } => {
            let (id, grace) = (webhook_id(&id)?, duration("grace", &grace)?);
            let admin = admin(&args)?;
            let webhook = admin.webhook(id).await?;
            let token = NewToken::for_public_id(webhook.public_id);
            let (since, until) = (webhook.revision, after(grace));
            let webhook = admin.rotate_webhook(id, since, token.presented, until).await?;
            show_url(args.json, &webhook, &url.public_url, &token);
        }
        WebhookCommand::Revoke { id, args } => {
            let webhook = admin(&args)?.revoke_webhook(webhook_id(&id)?).await?;
            render::one(args.json, Shown::webhook(&webhook));
        }
    }
    Ok(())
}

/// `trailpad activity …`
pub async fn activity(command: ActivityCommand) -> Done {
    let ActivityCommand::List { webhook, external_id, limit, args } = command;
    let webhook_id = webhook.as_deref().map(webhook_id).transpose()?;
    let filter = ActivityFilter { webhook_id, external_id, limit };
    let activities = admin(&args)?.activities(&filter).await?;
    let hint = "There are no activities: post one to a webhook's URL.";
    render::many(args.json, activities.iter().map(Shown::activity), hint);
    Ok(())
}

/// The project of a name.
pub async fn project_named(
    admin: &dyn Admin,
    workspace: &Workspace,
    name: &str,
) -> Result<ProjectId, Error> {
    let projects = admin.projects(workspace.id).await?;
    let found = projects.iter().find(|project| project.name == name);
    found.map(|project| project.id).ok_or_else(|| {
        let workspace = &workspace.name;
        not_found(format!("workspace {workspace:?} has no project named {name:?}: make it with `trailpad project create`"))
    })
}

/// The member of an address.
pub async fn member_of(
    admin: &dyn Admin,
    workspace: &Workspace,
    email: &Email,
) -> Result<MemberId, Error> {
    let members = admin.members(workspace.id).await?;
    let found = members.iter().find(|member| member.email == *email);
    found.map(|member| member.id).ok_or_else(|| {
        let workspace = &workspace.name;
        not_found(format!(
            "{email} is no member of workspace {workspace:?}: add them with `trailpad member add`"
        ))
    })
}

fn not_found(sentence: String) -> Error {
    AdminError::NotFound(sentence).into()
}

pub fn admin(args: &CommandArgs) -> Result<Box<dyn Admin>, Error> {
    engines::admin(&config::store(&args.store)?, &config::data_dir(&args.store))
}

/// The one place where a token is shown: the person asked for it, and it is shown this once.
fn show_url(json: bool, webhook: &Webhook, public_url: &str, token: &NewToken) {
    let url = format!("{}/webhooks/ingress/{}", public_url.trim_end_matches('/'), token.reveal());
    render::one(json, Shown::webhook_with_url(webhook, &url));
}

pub fn email(text: &str) -> Result<Email, Error> {
    Email::parse(text).map_err(|error| wrong(format!("{text:?} is {error}")))
}

fn nonblank<'t>(flag: &str, text: &'t str) -> Result<&'t str, Error> {
    let text = text.trim();
    if text.is_empty() || text.len() > 200 {
        return Err(wrong(format!("--{flag} must have 1 to 200 characters")));
    }
    Ok(text)
}

pub fn webhook_id(text: &str) -> Result<WebhookId, Error> {
    let hint = "is no webhook's id: `trailpad webhook list` shows them";
    text.parse().map_err(|_| wrong(format!("{text:?} {hint}")))
}

pub fn duration(flag: &str, text: &str) -> Result<Duration, Error> {
    humantime::parse_duration(text)
        .map_err(|_| wrong(format!("--{flag} must be a time such as 30m, not {text:?}")))
}

/// The instant so long ago.
pub fn ago(age: Duration) -> Timestamp {
    let micros = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(Timestamp::now().unix_micros().saturating_sub(micros))
}

fn after(duration: Duration) -> Timestamp {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_unix_micros(Timestamp::now().unix_micros().saturating_add(micros))
}

pub fn wrong(fault: String) -> Error {
    Error::Config(vec![fault])
}
