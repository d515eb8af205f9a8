//! `trailpad dead-letter list` and `show`

use std::io::Write;

use clap::Args;
use trailpad_common::admin::{
    AdminError, Cursor, DeadLetterFilter, Missing, Page, StoredDeadLetter,
};

use super::filter::{FilterArgs, PAGE_LETTERS};
use crate::args::CommandArgs;
use crate::args::parse::dead_letter_id;
use crate::engines::administration;
use crate::error::Error;
use crate::render::{self, Shown};

#[derive(Args)]
pub struct ListArgs {
    /// Include dead letters that were settled, replayed or discarded
    #[arg(long)]
    all: bool,
    /// Maximum number to list
    #[arg(long, env = "TRAILPAD_LIMIT", default_value_t = 20, value_name = "COUNT")]
    limit: u32,
    #[command(flatten)]
    which: FilterArgs,
    #[command(flatten)]
    args: CommandArgs,
}

#[derive(Args)]
pub struct ShowArgs {
    /// The dead letter's id, which is also its activity's id
    id: String,
    /// Print only the payload, as it was sent
    #[arg(long)]
    payload: bool,
    #[command(flatten)]
    args: CommandArgs,
}

pub async fn list(list: ListArgs) -> Result<(), Error> {
    let ListArgs { which, all, limit, args } = list;
    let filter = DeadLetterFilter { with_ended: all, ..which.filter(None, &args).await? };
    let admin = administration(&args.store)?;
    let mut letters = Vec::<StoredDeadLetter>::new();
    loop {
        let left = limit.saturating_sub(u32::try_from(letters.len()).unwrap_or(u32::MAX));
        let after = letters.last().map(|last| Cursor { at: last.dead_at, id: last.id });
        let page = Page { after, limit: left.min(PAGE_LETTERS), with_payload: false };
        let next = admin.dead_letters(&filter, page).await?;
        let is_last = next.len() < PAGE_LETTERS as usize;
        letters.extend(next);
        if is_last {
            break;
        }
    }
    let hint = if all {
        "There are no dead letters."
    } else {
        "There are no open dead letters; --all includes those that are settled, replayed or \
         discarded."
    };
    render::many(args.json, letters.iter().map(Shown::dead_letter), hint);
    Ok(())
}

pub async fn show(show: ShowArgs) -> Result<(), Error> {
    let ShowArgs { id, payload, args } = show;
    let id = dead_letter_id(&id)?;
    let filter = DeadLetterFilter { id: Some(id), with_ended: true, ..DeadLetterFilter::default() };
    let page = Page { after: None, limit: 1, with_payload: payload };
    let found = administration(&args.store)?.dead_letters(&filter, page).await?;
    let Some(letter) = found.into_iter().next() else {
        return Err(AdminError::from(Missing::DeadLetter(id)).into());
    };
    if let Some(bytes) = &letter.payload {
        let _ = std::io::stdout().write_all(bytes);
        let _ = std::io::stdout().write_all(b"\n");
        return Ok(());
    }
    render::one(args.json, Shown::dead_letter_in_full(&letter, &args.store));
    Ok(())
}
