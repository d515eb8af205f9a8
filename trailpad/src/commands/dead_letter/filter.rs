//! Chooses dead letters, and counts those that a command would change.

use clap::Args;
use trailpad_common::admin::{DeadLetterAdmin, DeadLetterFilter};
use trailpad_common::failure::Reason;

use crate::args::CommandArgs;
use crate::args::parse::{cutoff, dead_letter_id, email, invalid, webhook_id};
use crate::engines::administration;
use crate::error::Error;
use crate::render;

/// Dead letters that are read per page.
pub const PAGE_LETTERS: u32 = 500;

#[derive(Args)]
#[command(next_help_heading = "Which dead letters")]
pub struct FilterArgs {
    /// Only dead letters of this workspace
    #[arg(long, env = "TRAILPAD_WORKSPACE", value_name = "NAME")]
    workspace: Option<String>,
    /// Only dead letters of this webhook
    #[arg(long, env = "TRAILPAD_WEBHOOK", value_name = "ID")]
    webhook: Option<String>,
    /// Only dead letters with this reason, such as unknown-member
    #[arg(long, env = "TRAILPAD_REASON")]
    reason: Option<String>,
    /// Only dead letters whose memberEmail is this address
    #[arg(long, env = "TRAILPAD_MEMBER", value_name = "EMAIL")]
    member: Option<String>,
    /// Only dead letters older than this
    #[arg(long, env = "TRAILPAD_OLDER_THAN", value_name = "TIME")]
    older_than: Option<String>,
}

impl FilterArgs {
    pub async fn filter(
        &self,
        id: Option<&str>,
        args: &CommandArgs,
    ) -> Result<DeadLetterFilter, Error> {
        if let Some(reason) = self.reason.as_deref().filter(|name| name.parse::<Reason>().is_err())
        {
            let known: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
            let known = known.join(", ");
            return Err(invalid(format!("--reason must be one of {known}, not {reason:?}")));
        }
        let dead_before = cutoff("older-than", self.older_than.as_deref())?;
        let workspace_id = match &self.workspace {
            Some(name) => Some(administration(&args.store)?.workspace(name).await?.id),
            None => None,
        };
        Ok(DeadLetterFilter {
            id: id.map(dead_letter_id).transpose()?,
            workspace_id,
            webhook_id: self.webhook.as_deref().map(webhook_id).transpose()?,
            reason: self.reason.clone(),
            member_email: self.member.as_deref().map(email).transpose()?,
            dead_before,
            with_ended: false,
        })
    }

    /// The filter of a command that changes dead letters. Without a choice it requires `--all`, so
    /// that nobody changes every dead letter by accident.
    pub async fn filter_for_change(
        &self,
        id: Option<&str>,
        all: bool,
        args: &CommandArgs,
    ) -> Result<DeadLetterFilter, Error> {
        let filter = self.filter(id, args).await?;
        if filter == DeadLetterFilter::default() && !all {
            return Err(invalid(
                "no dead letters are chosen: give an ID, or choose with --reason, --member, \
                 --webhook, --workspace or --older-than, or give --all"
                    .to_owned(),
            ));
        }
        Ok(filter)
    }
}

/// Prints how many dead letters a command would change: "3 open dead letters would {change}."
pub async fn print_matching(
    admin: &dyn DeadLetterAdmin,
    filter: &DeadLetterFilter,
    change: &str,
    args: &CommandArgs,
) -> Result<(), Error> {
    let count = admin.count_dead_letters(filter, u32::MAX).await?;
    let sentence = format!("{count} open dead {} would {change}.", noun(count));
    render::sentence(args.json, &serde_json::json!({ "matching": count }), &sentence);
    Ok(())
}

pub fn noun(count: u64) -> &'static str {
    if count == 1 { "letter" } else { "letters" }
}
