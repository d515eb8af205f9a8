//! `trailpad retry …`

use clap::{Args, Subcommand};
use trailpad_common::admin::RetryFilter;
use trailpad_common::failure::Reason;

use crate::args::CommandArgs;
use crate::args::parse::{activity_id, email, invalid, webhook_id};
use crate::engines::administration;
use crate::error::Error;
use crate::render::{self, Shown};

#[derive(Subcommand)]
pub enum RetryCommand {
    /// List the activities that wait for another attempt, those that are due first
    List {
        #[command(flatten)]
        which: RetryFilterArgs,
        /// Maximum number to list
        #[arg(long, env = "TRAILPAD_LIMIT", default_value_t = 20, value_name = "COUNT")]
        limit: u32,
        #[command(flatten)]
        args: CommandArgs,
    },
    /// Attempt waiting activities now, for example once the cause of their failure is repaired
    Now {
        /// Every waiting activity
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        which: RetryFilterArgs,
        #[command(flatten)]
        args: CommandArgs,
    },
}

#[derive(Args)]
#[command(next_help_heading = "Which activities")]
pub struct RetryFilterArgs {
    /// Only the activity with this id
    id: Option<String>,
    /// Only activities of this webhook
    #[arg(long, env = "TRAILPAD_WEBHOOK", value_name = "ID")]
    webhook: Option<String>,
    /// Only activities that failed for this reason, such as unknown-member
    #[arg(long, env = "TRAILPAD_REASON")]
    reason: Option<String>,
    /// Only activities that wait for the member with this address
    #[arg(long, env = "TRAILPAD_MEMBER", value_name = "EMAIL")]
    member: Option<String>,
}

impl RetryFilterArgs {
    fn filter(&self) -> Result<RetryFilter, Error> {
        if let Some(reason) = self.reason.as_deref().filter(|name| name.parse::<Reason>().is_err())
        {
            let known: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
            let known = known.join(", ");
            return Err(invalid(format!("--reason must be one of {known}, not {reason:?}")));
        }
        Ok(RetryFilter {
            id: self.id.as_deref().map(activity_id).transpose()?,
            webhook_id: self.webhook.as_deref().map(webhook_id).transpose()?,
            reason: self.reason.clone(),
            member_email: self.member.as_deref().map(email).transpose()?,
        })
    }
}

pub async fn run(command: RetryCommand) -> Result<(), Error> {
    match command {
        RetryCommand::List { which, limit, args } => {
            let filter = which.filter()?;
            let retries = administration(&args.store)?.retries(&filter, limit).await?;
            let hint = "No activity waits for another attempt.";
            render::many(args.json, retries.iter().map(Shown::retry), hint);
        }
        RetryCommand::Now { all, which, args } => {
            let filter = which.filter()?;
            if filter == RetryFilter::default() && !all {
                return Err(invalid(
                    "no activities are chosen: give an ID, or choose with --reason, --member or \
                     --webhook, or give --all"
                        .to_owned(),
                ));
            }
            let due = administration(&args.store)?.hurry_retries(&filter).await?;
            let noun = if due == 1 { "activity is" } else { "activities are" };
            let sentence = format!("{due} {noun} due now; a worker attempts them at once.");
            render::sentence(args.json, &serde_json::json!({ "due": due }), &sentence);
        }
    }
    Ok(())
}
