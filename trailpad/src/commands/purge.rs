//! `trailpad purge`: deletes records older than a limit.

use std::time::Instant;

use clap::Args;
use trailpad_common::admin::{Cutoffs, Purged, Retention};

use crate::args::CommandArgs;
use crate::args::parse::{cutoff, invalid};
use crate::engines::administration;
use crate::error::Error;
use crate::render;

#[derive(Args)]
pub struct PurgeArgs {
    /// Delete activities received longer ago than this, such as 400days, and the dead letters they
    /// settled; a deleted externalId counts as new if it is sent again
    #[arg(long, env = "TRAILPAD_ACTIVITIES_OLDER_THAN", value_name = "TIME")]
    activities_older_than: Option<String>,
    /// Delete dead letters that failed longer ago than this and are settled or discarded
    #[arg(long, env = "TRAILPAD_DEAD_LETTERS_OLDER_THAN", value_name = "TIME")]
    dead_letters_older_than: Option<String>,
    /// Maximum number to delete per transaction
    #[arg(
        long,
        env = "TRAILPAD_PURGE_BATCH",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        value_name = "COUNT"
    )]
    batch: u32,
    /// Actually delete; without it, only report the count
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    args: CommandArgs,
}

pub async fn run(args: &PurgeArgs) -> Result<(), Error> {
    let cutoffs = cutoffs(args)?;
    let retention = administration(&args.args.store)?;
    let old = retention.count_old(cutoffs).await?;
    let (purged, verb) = if args.yes {
        (purge_all(&*retention, cutoffs, old, args.batch).await?, "deleted")
    } else {
        (old, "would be deleted; add --yes to delete them")
    };
    let Purged { activities, dead_letters } = purged;
    let json = serde_json::json!({
        "activities": activities, "deadLetters": dead_letters, "deleted": args.yes,
    });
    let sentence = format!("{activities} activities and {dead_letters} dead letters {verb}.");
    render::sentence(args.args.json, &json, &sentence);
    Ok(())
}

fn cutoffs(args: &PurgeArgs) -> Result<Cutoffs, Error> {
    let cutoffs = Cutoffs {
        activities: cutoff("activities-older-than", args.activities_older_than.as_deref())?,
        dead_letters: cutoff("dead-letters-older-than", args.dead_letters_older_than.as_deref())?,
    };
    if cutoffs == Cutoffs::default() {
        let flags = "--activities-older-than, --dead-letters-older-than or both";
        return Err(invalid(format!("nothing to delete is chosen: give {flags}")));
    }
    Ok(cutoffs)
}

/// Deletes in short transactions and pauses after each for as long as it took, so that storing
/// continues. Dead letters first: each pass scans those that remain, so it stops as soon as none
/// was deleted.
async fn purge_all(
    retention: &dyn Retention,
    cutoffs: Cutoffs,
    old: Purged,
    batch: u32,
) -> Result<Purged, Error> {
    let bar = render::progress("deleting", old.activities + old.dead_letters);
    let mut total = Purged::default();
    let dead_letters = Cutoffs { activities: None, ..cutoffs };
    let activities = Cutoffs { dead_letters: None, ..cutoffs };
    for cutoffs in [dead_letters, activities] {
        loop {
            let began = Instant::now();
            let purged = retention.purge(cutoffs, batch).await?;
            if purged == Purged::default() {
                break;
            }
            total.activities += purged.activities;
            total.dead_letters += purged.dead_letters;
            bar.set_position(total.activities + total.dead_letters);
            tokio::time::sleep(began.elapsed()).await;
        }
    }
    bar.finish_and_clear();
    Ok(total)
}
