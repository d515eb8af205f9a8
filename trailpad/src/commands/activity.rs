//! `trailpad activity …`

use clap::Subcommand;
use trailpad_common::admin::ActivityFilter;

use crate::args::CommandArgs;
use crate::args::parse::webhook_id;
use crate::engines::administration;
use crate::error::Error;
use crate::render::{self, Shown};

#[derive(Subcommand)]
pub enum ActivityCommand {
    /// List activities, newest received first
    List {
        /// Only activities of this webhook
        #[arg(long, env = "TRAILPAD_WEBHOOK", value_name = "ID")]
        webhook: Option<String>,
        /// Only activities with this externalId
        #[arg(long, env = "TRAILPAD_EXTERNAL_ID", value_name = "ID")]
        external_id: Option<String>,
        /// Maximum number to list
        #[arg(long, env = "TRAILPAD_LIMIT", default_value_t = 20, value_name = "COUNT")]
        limit: u32,
        #[command(flatten)]
        args: CommandArgs,
    },
}

pub async fn run(command: ActivityCommand) -> Result<(), Error> {
    let ActivityCommand::List { webhook, external_id, limit, args } = command;
    let webhook_id = webhook.as_deref().map(webhook_id).transpose()?;
    let filter = ActivityFilter { webhook_id, external_id, limit };
    let activities = administration(&args.store)?.activities(&filter).await?;
    let hint = "There are no activities: post one to a webhook's URL.";
    render::many(args.json, activities.iter().map(Shown::activity), hint);
    Ok(())
}
