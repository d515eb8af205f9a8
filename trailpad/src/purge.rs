//! `trailpad purge`: lets go of what is older than a limit.

use std::time::Instant;

use trailpad_common::admin::{Cutoffs, Purged, Retention};

use crate::cli::PurgeArgs;
use crate::commands::{ago, duration, wrong};
use crate::error::Error;
use crate::{config, engines, render};

/// Purges, or says what would be.
pub async fn purge(args: &PurgeArgs) -> Result<(), Error> {
    let cutoffs = cutoffs(args)?;
    let store = &args.args.store;
    let retention = engines::retention(&config::store(store)?, &config::data_dir(store))?;
    let old = retention.count_old(cutoffs).await?;
    let (purged, verb) = match args.yes {
        false => (old, "would be deleted; say --yes to do it"),
        true => (purge_all(&*retention, cutoffs, old, args.batch).await?, "deleted"),
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
    let cutoff = |flag: &str, age: &Option<String>| -> Result<_, Error> {
        Ok(age.as_deref().map(|age| duration(flag, age)).transpose()?.map(ago))
    };
    let cutoffs = Cutoffs {
        activities: cutoff("activities-older-than", &args.activities_older_than)?,
        dead_letters: cutoff("dead-letters-older-than", &args.dead_letters_older_than)?,
    };
    if cutoffs == Cutoffs::default() {
        let flags = "--activities-older-than, --dead-letters-older-than or both";
        return Err(wrong(format!("say what may go: {flags}")));
    }
    Ok(cutoffs)
}

/// In short transactions, and as long a pause after each as it took, so that storing goes on. One
/// after the other: dead letters are looked through as often as some of them go, and no oftener.
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
