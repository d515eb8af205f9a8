//! `trailpad dead-letter discard`

use clap::Args;
use trailpad_common::admin::replay::discard_page;

use super::filter::{FilterArgs, PAGE_LETTERS, noun, print_matching};
use crate::args::CommandArgs;
use crate::engines::administration;
use crate::error::Error;
use crate::render;

#[derive(Args)]
pub struct DiscardArgs {
    /// Only the dead letter with this id
    id: Option<String>,
    /// Every open dead letter
    #[arg(long)]
    all: bool,
    /// Actually discard; without it, only report the count
    #[arg(long)]
    yes: bool,
    /// Who discards them, for the record
    #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true)]
    by: String,
    #[command(flatten)]
    which: FilterArgs,
    #[command(flatten)]
    args: CommandArgs,
}

pub async fn run(discard: DiscardArgs) -> Result<(), Error> {
    let DiscardArgs { id, which, all, yes, by, args } = discard;
    let filter = which.filter_for_change(id.as_deref(), all, &args).await?;
    let admin = administration(&args.store)?;
    if !yes {
        let change = "be discarded; add --yes to discard them";
        return print_matching(&*admin, &filter, change, &args).await;
    }
    let mut discarded = 0_u64;
    let mut after = None;
    loop {
        let page = discard_page(&*admin, &filter, after, PAGE_LETTERS, &by).await?;
        discarded += page.done;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let sentence = format!("{discarded} dead {} discarded.", noun(discarded));
    render::sentence(args.json, &serde_json::json!({ "discarded": discarded }), &sentence);
    Ok(())
}
