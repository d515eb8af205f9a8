//! `trailpad dead-letter …`: lists, shows, replays and discards dead letters.

mod discard;
mod filter;
mod replay;
mod show;

use clap::Subcommand;

use crate::error::Error;
use discard::DiscardArgs;
use replay::ReplayArgs;
use show::{ListArgs, ShowArgs};

#[derive(Subcommand)]
pub enum DeadLetterCommand {
    /// List open dead letters with their reason, latest first
    List(ListArgs),
    /// Show one dead letter in full
    Show(ShowArgs),
    /// Publish open dead letters to the queue again; each is stored at most once
    Replay(ReplayArgs),
    /// Mark open dead letters as not wanted
    Discard(DiscardArgs),
}

pub async fn run(command: DeadLetterCommand) -> Result<(), Error> {
    match command {
        DeadLetterCommand::List(args) => show::list(args).await,
        DeadLetterCommand::Show(args) => show::show(args).await,
        DeadLetterCommand::Replay(args) => replay::run(args).await,
        DeadLetterCommand::Discard(args) => discard::run(args).await,
    }
}
