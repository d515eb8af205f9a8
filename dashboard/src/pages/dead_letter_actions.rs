//! Replaying and discarding dead letters: those that are selected, or all that match.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use trailpad_common::admin::DeadLetterFilter;
use trailpad_common::admin::replay::{PageOutcome, ReplayError, discard_page, replay_page};
use trailpad_common::id::ActivityId;
use trailpad_common::timestamp::Timestamp;

use super::dead_letters::{filter, of_workspace};
use super::redirect;
use crate::error::PageError;
use crate::fields::Fields;
use crate::layout::counted;
use crate::session::{SignedForm, Viewer};
use crate::state::{Dashboard, PUBLISH_TIMEOUT};

const SELECTED_MAX: usize = 50;
/// What is begun in one click; the list then shows what is left.
const WORKING_MAX: Duration = Duration::from_secs(5);
/// Few, because each may have a payload of a quarter of a megabyte.
const STEP_LETTERS: u32 = 50;

#[derive(Clone, Copy)]
enum What {
    Replay,
    Discard,
}

/// `POST /dead-letters`
pub async fn act(
    dashboard: web::Data<Dashboard>,
    post: SignedForm,
) -> Result<HttpResponse, PageError> {
    let SignedForm { viewer, fields } = &post;
    viewer.must_manage()?;
    let query = Fields::parse(fields.raw("query").as_bytes());
    let (what, filters) = match fields.raw("do") {
        "replay" => (What::Replay, selected(viewer, fields)?),
        "discard" => (What::Discard, selected(viewer, fields)?),
        "replay-all" => (What::Replay, vec![matching(viewer, fields, &query)?]),
        "discard-all" => (What::Discard, vec![matching(viewer, fields, &query)?]),
        _ => return Err(PageError::NotFound),
    };
    let (began, mut total) = (Instant::now(), PageOutcome::default());
    for filter in &filters {
        let mut after = None;
        while began.elapsed() < WORKING_MAX {
            let page = step(&dashboard, viewer, what, filter, after).await?;
            total.done += page.done;
            total.unreadable += page.unreadable;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    let done = match what {
        What::Replay => format!("replayed.{}.{}", total.done, total.unreadable),
        What::Discard => format!("discarded.{}.0", total.done),
    };
    Ok(redirect(&format!("/dead-letters?{}", query.with("done", Some(&done)))))
}

/// Each that is selected, if it is one of this workspace.
fn selected(viewer: &Viewer, fields: &Fields) -> Result<Vec<DeadLetterFilter>, PageError> {
    let ids: Result<Vec<ActivityId>, _> = fields.all("id").map(str::parse).collect();
    let ids = ids.map_err(|_| PageError::NotFound)?;
    if ids.is_empty() {
        return Err(PageError::Refused(
            "Nothing is selected: go back and tick the dead letters you mean".into(),
        ));
    }
    let of = |id| DeadLetterFilter { id: Some(id), ..of_workspace(viewer) };
    Ok(ids.into_iter().take(SELECTED_MAX).map(of).collect())
}

/// All that matched when the page was made; what died since nobody has seen.
fn matching(
    viewer: &Viewer,
    fields: &Fields,
    query: &Fields,
) -> Result<DeadLetterFilter, PageError> {
    let seen = Timestamp::parse(fields.raw("seen")).map_err(|_| PageError::Forged)?;
    let open = DeadLetterFilter { with_ended: false, ..filter(viewer, query)? };
    Ok(DeadLetterFilter { dead_before: Some(seen.timestamp), ..open })
}

async fn step(
    dashboard: &Dashboard,
    viewer: &Viewer,
    what: What,
    filter: &DeadLetterFilter,
    after: Option<(Timestamp, ActivityId)>,
) -> Result<PageOutcome, PageError> {
    let (store, by) = (&*dashboard.stores.dead_letters, viewer.person.email.as_str());
    match what {
        What::Discard => Ok(discard_page(store, filter, after, STEP_LETTERS, by).await?),
        What::Replay => {
            let mut publisher = dashboard.publisher()?;
            let replaying = replay_page(store, &mut *publisher, filter, after, STEP_LETTERS, by);
            match tokio::time::timeout(PUBLISH_TIMEOUT, replaying).await {
                Ok(Ok(page)) => Ok(page),
                Ok(Err(ReplayError::Admin(error))) => Err(error.into()),
                Ok(Err(ReplayError::Publish(error))) => Err(error.into()),
                Err(_) => Err(PageError::Away("The queue did not confirm in time".into())),
            }
        }
    }
}

/// `replayed.12.0` in words; anything else is nothing of ours.
pub fn done_sentence(text: &str) -> Option<String> {
    let (what, counts) = text.split_once('.')?;
    let (done, unreadable) = counts.split_once('.')?;
    let (done, unreadable): (u64, u64) = (done.parse().ok()?, unreadable.parse().ok()?);
    let count = counted(done, "dead letter was", "dead letters were");
    let mut sentence = match what {
        _ if done == 0 && unreadable == 0 => "None of them was open any more.".to_owned(),
        "replayed" => {
            format!("{count} replayed: each is stored shortly, or comes back here with its reason.")
        }
        "discarded" => format!("{count} discarded."),
        _ => return None,
    };
    if unreadable > 0 {
        let count = counted(unreadable, "is", "are");
        sentence.push_str(&format!(" {count} unreadable, and can only be discarded."));
    }
    Some(sentence)
}
