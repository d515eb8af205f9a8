//! `trailpad dead-letter …`: look at what could not be stored, and repair it.

use std::io::Write;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use trailpad_common::admin::replay::{PageOutcome, discard_page, replay_page};
use trailpad_common::admin::{
    DeadLetterAdmin, DeadLetterFilter, Page, StoredDeadLetter, Workspace,
};
use trailpad_common::email::Email;
use trailpad_common::failure::{Reason, Unavailable};
use trailpad_common::id::ActivityId;
use trailpad_common::queue::Queue;
use trailpad_common::runtime::lifecycle::Health;

use crate::cli::{CommandArgs, DeadLetterCommand, QueueArgs, WhichArgs};
use crate::commands::{self, ago, duration, email, webhook_id, wrong};
use crate::config;
use crate::engines::dead_letter_admin;
use crate::error::Error;
use crate::hint::command;
use crate::render::{self, Shown};

/// Dead letters that are read at a time.
const PAGE_LETTERS: u32 = 500;
/// Dead letters that are replayed at a time, at most: the rate is kept between two of these.
const STEP_LETTERS: u32 = 50;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs one of the commands.
pub async fn dead_letter(command: DeadLetterCommand) -> Result<(), Error> {
    match command {
        DeadLetterCommand::List { which, all, limit, args } => {
            let filter = DeadLetterFilter { with_ended: all, ..which.filter(None, &args).await? };
            list(&filter, limit, &args).await
        }
        DeadLetterCommand::Show { id, payload, args } => show(&id, payload, &args).await,
        DeadLetterCommand::Replay { id, which, all, dry_run, rate, by, queue, args } => {
            let filter = which.chosen(id.as_deref(), all, &args).await?;
            let admin = admin(&args)?;
            match dry_run {
                true => foretell(&*admin, &filter, "be replayed", &args).await,
                false => replay(&*admin, &filter, rate, &by, &queue, &args).await,
            }
        }
        DeadLetterCommand::Discard { id, which, all, yes, by, args } => {
            let filter = which.chosen(id.as_deref(), all, &args).await?;
            let admin = admin(&args)?;
            match yes {
                false => {
                    foretell(&*admin, &filter, "be discarded; say --yes to do it", &args).await
                }
                true => discard(&*admin, &filter, &by, &args).await,
            }
        }
    }
}

impl WhichArgs {
    async fn filter(
        &self,
        id: Option<&str>,
        args: &CommandArgs,
    ) -> Result<DeadLetterFilter, Error> {
        if let Some(reason) = self.reason.as_deref().filter(|name| Reason::named(name).is_none()) {
            let known: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
            return Err(wrong(format!("--reason {reason:?} is none of {}", known.join(", "))));
        }
        let before =
            self.older_than.as_deref().map(|age| duration("older-than", age)).transpose()?;
        let workspace_id = match &self.workspace {
            Some(name) => Some(commands::admin(args)?.workspace(name).await?.id),
            None => None,
        };
        Ok(DeadLetterFilter {
            id: id.map(dead_letter_id).transpose()?,
            workspace_id,
            webhook_id: self.webhook.as_deref().map(webhook_id).transpose()?,
            reason: self.reason.clone(),
            member_email: self.member.as_deref().map(email).transpose()?,
            dead_before: before.map(ago),
            with_ended: false,
        })
    }

    /// A filter for a change: everything has to be asked for by name.
    async fn chosen(
        &self,
        id: Option<&str>,
        all: bool,
        args: &CommandArgs,
    ) -> Result<DeadLetterFilter, Error> {
        let filter = self.filter(id, args).await?;
        if filter == DeadLetterFilter::default() && !all {
            return Err(wrong("name one by its ID, choose with --reason, --member, --webhook, --workspace or --older-than, or say --all".into()));
        }
        Ok(filter)
    }
}

async fn list(filter: &DeadLetterFilter, limit: u32, args: &CommandArgs) -> Result<(), Error> {
    let (admin, mut letters) = (admin(args)?, Vec::<StoredDeadLetter>::new());
    loop {
        let left = limit.saturating_sub(u32::try_from(letters.len()).unwrap_or(u32::MAX));
        let after = letters.last().map(|last| (last.dead_at, last.id));
        let page = Page { after, limit: left.min(PAGE_LETTERS), with_payload: false };
        let next = admin.dead_letters(filter, page).await?;
        let is_last = next.len() < PAGE_LETTERS as usize;
        letters.extend(next);
        if is_last {
            break;
        }
    }
    let hint = match filter.with_ended {
        true => "There are no dead letters.",
        false => "There are no open dead letters; --all shows those that were dealt with.",
    };
    render::many(args.json, letters.iter().map(Shown::dead_letter), hint);
    Ok(())
}

async fn show(id: &str, payload: bool, args: &CommandArgs) -> Result<(), Error> {
    let wanted = dead_letter_id(id)?;
    let filter =
        DeadLetterFilter { id: Some(wanted), with_ended: true, ..DeadLetterFilter::default() };
    let page = Page { after: None, limit: 1, with_payload: payload };
    let found = admin(args)?.dead_letters(&filter, page).await?;
    let Some(letter) = found.into_iter().next() else {
        return Err(Error::Other(format!(
            "there is no dead letter {wanted}: `trailpad dead-letter list --all` shows them"
        )));
    };
    if let Some(bytes) = &letter.payload {
        let _ = std::io::stdout().write_all(bytes);
        let _ = std::io::stdout().write_all(b"\n");
        return Ok(());
    }
    render::one(args.json, Shown::dead_letter_alone(&letter, &args.store));
    Ok(())
}

async fn foretell(
    admin: &dyn DeadLetterAdmin,
    filter: &DeadLetterFilter,
    what: &str,
    args: &CommandArgs,
) -> Result<(), Error> {
    let count = admin.count_dead_letters(filter, u32::MAX).await?;
    let sentence = format!("{count} open dead {} would {what}.", noun(count));
    render::sentence(args.json, &serde_json::json!({ "matching": count }), &sentence);
    Ok(())
}

async fn replay(
    admin: &dyn DeadLetterAdmin,
    filter: &DeadLetterFilter,
    rate: u32,
    by: &str,
    queue: &QueueArgs,
    args: &CommandArgs,
) -> Result<(), Error> {
    let engines = config::replay_engines(&args.store, queue)?;
    let queue = engines.queue_beside("replay")?;
    is_reached(&*queue).await?;
    let mut publisher = queue.publisher();
    let bar = render::progress("replaying", admin.count_dead_letters(filter, u32::MAX).await?);
    let step = STEP_LETTERS.min(rate.max(1));
    let (mut total, mut at) = (PageOutcome::default(), Instant::now());
    loop {
        let page = replay_page(admin, &mut *publisher, filter, total.next, step, by).await?;
        total.done += page.done;
        total.unreadable += page.unreadable;
        total.next = page.next;
        bar.set_position(total.done);
        if total.next.is_none() {
            break;
        }
        at += Duration::from_secs(1) * step / rate.max(1);
        sleep_until(at).await;
    }
    bar.finish_and_clear();
    let PageOutcome { done: replayed, unreadable, .. } = total;
    let mut sentence = format!("{replayed} dead {} replayed.", noun(replayed));
    if unreadable > 0 {
        sentence.push_str(&format!(
            " {unreadable} can't be read by any worker: look with `show`, then discard."
        ));
    }
    let json = serde_json::json!({ "replayed": replayed, "unreadable": unreadable });
    render::sentence(args.json, &json, &sentence);
    Ok(())
}

async fn discard(
    admin: &dyn DeadLetterAdmin,
    filter: &DeadLetterFilter,
    by: &str,
    args: &CommandArgs,
) -> Result<(), Error> {
    let (mut discarded, mut after) = (0_u64, None);
    loop {
        let page = discard_page(admin, filter, after, PAGE_LETTERS, by).await?;
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

/// How many dead letters wait for a member that was just added, with the command that helps them.
pub async fn waiting_for(
    args: &CommandArgs,
    workspace: &Workspace,
    address: Email,
) -> Result<Option<String>, Error> {
    let filter = DeadLetterFilter {
        workspace_id: Some(workspace.id),
        member_email: Some(address.clone()),
        reason: Some(Reason::UnknownMember.as_str().to_owned()),
        ..DeadLetterFilter::default()
    };
    let count = admin(args)?.count_dead_letters(&filter, u32::MAX).await?;
    Ok((count > 0).then(|| {
        let workspace = &workspace.name;
        let words = format!("dead-letter replay --workspace {workspace:?} --member {address}");
        format!(
            "{count} dead {} for this member. To store what waits:\n\n  {}",
            if count == 1 { "letter waits" } else { "letters wait" },
            command(&args.store, &words)
        )
    }))
}

fn admin(args: &CommandArgs) -> Result<Box<dyn DeadLetterAdmin>, Error> {
    dead_letter_admin(&config::store(&args.store)?, &config::data_dir(&args.store))
}

async fn is_reached(queue: &dyn Queue) -> Result<(), Error> {
    let mut health = queue.publish_health();
    let reached = tokio::time::timeout(QUEUE_TIMEOUT, health.wait_for(|now| *now == Health::Up));
    match reached.await {
        Ok(Ok(_)) => Ok(()),
        _ => match &*queue.publish_health().borrow() {
            Health::Down(why) => Err(Unavailable(format!("the queue is away: {why}")).into()),
            Health::Up => Ok(()),
        },
    }
}

fn noun(count: u64) -> &'static str {
    if count == 1 { "letter" } else { "letters" }
}

fn dead_letter_id(text: &str) -> Result<ActivityId, Error> {
    let hint = "is no dead letter's id: `trailpad dead-letter list` shows them";
    text.parse().map_err(|_| wrong(format!("{text:?} {hint}")))
}
