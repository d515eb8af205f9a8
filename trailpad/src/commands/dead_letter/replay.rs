//! `trailpad dead-letter replay`

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep_until};
use trailpad_common::admin::replay::{PageOutcome, replay_page};
use trailpad_common::admin::{DeadLetterAdmin, DeadLetterFilter};
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::Queue;
use trailpad_common::runtime::lifecycle::Health;

use super::filter::{FilterArgs, noun, print_matching};
use crate::args::{CommandArgs, QueueArgs};
use crate::engines::{Engines, administration};
use crate::error::Error;
use crate::{config, render};

/// Maximum number of dead letters replayed at a time. The rate is kept by waiting between steps.
const STEP_LETTERS: u32 = 50;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Args)]
pub struct ReplayArgs {
    /// Only the dead letter with this id
    id: Option<String>,
    /// Every open dead letter
    #[arg(long)]
    all: bool,
    /// Only report the count
    #[arg(long)]
    dry_run: bool,
    /// Maximum replays per second
    #[arg(
        long,
        env = "TRAILPAD_REPLAY_RATE",
        default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        value_name = "COUNT"
    )]
    rate: u32,
    /// Who replays them, for the record
    #[arg(long, env = "USER", default_value = "unknown", hide_env_values = true)]
    by: String,
    #[command(flatten)]
    which: FilterArgs,
    #[command(flatten)]
    queue: QueueArgs,
    #[command(flatten)]
    args: CommandArgs,
}

pub async fn run(replay: ReplayArgs) -> Result<(), Error> {
    let args = &replay.args;
    let filter = replay.which.filter_for_change(replay.id.as_deref(), replay.all, args).await?;
    let admin = administration(&args.store)?;
    if replay.dry_run {
        return print_matching(&*admin, &filter, "be replayed", args).await;
    }
    let PageOutcome { done: replayed, unreadable, .. } =
        replay_all(&*admin, &filter, &replay).await?;
    let mut sentence = format!("{replayed} dead {} replayed.", noun(replayed));
    if unreadable > 0 {
        sentence.push_str(&format!(
            " {unreadable} can't be read by any worker: check them with `show`, then discard them."
        ));
    }
    let json = serde_json::json!({ "replayed": replayed, "unreadable": unreadable });
    render::sentence(args.json, &json, &sentence);
    Ok(())
}

/// Returns the totals of all pages.
async fn replay_all(
    admin: &dyn DeadLetterAdmin,
    filter: &DeadLetterFilter,
    replay: &ReplayArgs,
) -> Result<PageOutcome, Error> {
    let engines = Engines::new(config::engines_of_command(&replay.args.store, &replay.queue)?);
    let queue = engines.queue.queue_for_command("replay")?;
    wait_until_reachable(&*queue).await?;
    let mut publisher = queue.publisher();
    let bar = render::progress("replaying", admin.count_dead_letters(filter, u32::MAX).await?);
    let rate = replay.rate.max(1);
    let step = STEP_LETTERS.min(rate);
    let mut total = PageOutcome::default();
    let mut next_step_at = Instant::now();
    loop {
        let page =
            replay_page(admin, &mut *publisher, filter, total.next, step, &replay.by).await?;
        total.done += page.done;
        total.unreadable += page.unreadable;
        total.next = page.next;
        bar.set_position(total.done);
        if total.next.is_none() {
            break;
        }
        next_step_at += Duration::from_secs(1) * step / rate;
        sleep_until(next_step_at).await;
    }
    bar.finish_and_clear();
    Ok(total)
}

async fn wait_until_reachable(queue: &dyn Queue) -> Result<(), Error> {
    let mut health = queue.publish_health();
    let up = tokio::time::timeout(QUEUE_TIMEOUT, health.wait_for(|now| *now == Health::Up));
    match up.await {
        Ok(Ok(_)) => Ok(()),
        _ => match &*queue.publish_health().borrow() {
            Health::Down(reason) => {
                Err(Unavailable(format!("the queue is unavailable: {reason}")).into())
            }
            Health::Up => Ok(()),
        },
    }
}
