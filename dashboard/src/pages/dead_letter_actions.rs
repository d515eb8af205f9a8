//! Replays and discards dead letters: the selected ones, or all that match the filter.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, web};
use trailpad_common::admin::replay::{PageOutcome, ReplayError, discard_page, replay_page};
use trailpad_common::admin::{Cursor, DeadLetterFilter};
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
/// No step starts after this time; the list then shows the remaining dead letters.
const WORKING_MAX: Duration = Duration::from_secs(5);
/// Few, because each payload may have a quarter of a megabyte.
const STEP_LETTERS: u32 = 50;

#[derive(Clone, Copy)]
enum Operation {
    Replay,
    Discard,
}

/// `POST /dead-letters`
pub async fn act(
    dashboard: web::Data<Dashboard>,
    form: SignedForm,
) -> Result<HttpResponse, PageError> {
    let SignedForm { viewer, fields } = &form;
    viewer.must_manage()?;
    let query = Fields::parse(fields.raw("query").as_bytes());
    let (operation, filters) = match fields.raw("do") {
        "replay" => (Operation::Replay, selected(viewer, fields)?),
        "discard" => (Operation::Discard, selected(viewer, fields)?),
        "replay-all" => (Operation::Replay, vec![matching(viewer, fields, &query)?]),
        "discard-all" => (Operation::Discard, vec![matching(viewer, fields, &query)?]),
        _ => return Err(PageError::NotFound),
    };
    let began = Instant::now();
    let mut total = PageOutcome::default();
    for filter in &filters {
        let mut after = None;
        while began.elapsed() < WORKING_MAX {
            let page = step(&dashboard, viewer, operation, filter, after).await?;
            total.done += page.done;
            total.unreadable += page.unreadable;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    let outcome = match operation {
        Operation::Replay => format!("replayed.{}.{}", total.done, total.unreadable),
        Operation::Discard => format!("discarded.{}.0", total.done),
    };
    Ok(redirect(&format!("/dead-letters?{}", query.with("done", Some(&outcome)))))
}

/// A filter for each selected dead letter, limited to the viewer's workspace.
fn selected(viewer: &Viewer, fields: &Fields) -> Result<Vec<DeadLetterFilter>, PageError> {
    let ids: Result<Vec<ActivityId>, _> = fields.all("id").map(str::parse).collect();
    let ids = ids.map_err(|_| PageError::NotFound)?;
    if ids.is_empty() {
        return Err(PageError::Rejected(
            "Nothing is selected: go back and tick the dead letters you mean".into(),
        ));
    }
    let of = |id| DeadLetterFilter { id: Some(id), ..of_workspace(viewer) };
    Ok(ids.into_iter().take(SELECTED_MAX).map(of).collect())
}

/// All that matched when the page was rendered; nobody has seen later ones.
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
    operation: Operation,
    filter: &DeadLetterFilter,
    after: Option<Cursor>,
) -> Result<PageOutcome, PageError> {
    let store = &*dashboard.administration;
    let by = viewer.identity.email.as_str();
    match operation {
        Operation::Discard => Ok(discard_page(store, filter, after, STEP_LETTERS, by).await?),
        Operation::Replay => {
            let mut publisher = dashboard.publisher()?;
            let replaying = replay_page(store, &mut *publisher, filter, after, STEP_LETTERS, by);
            match tokio::time::timeout(PUBLISH_TIMEOUT, replaying).await {
                Ok(Ok(page)) => Ok(page),
                Ok(Err(ReplayError::Admin(error))) => Err(error.into()),
                Ok(Err(ReplayError::Publish(error))) => Err(error.into()),
                Err(_) => Err(PageError::Unavailable("The queue did not confirm in time".into())),
            }
        }
    }
}

/// Turns an outcome such as `replayed.12.0` into a sentence. Unknown values are ignored.
pub fn outcome_sentence(text: &str) -> Option<String> {
    let (operation, counts) = text.split_once('.')?;
    let (done, unreadable) = counts.split_once('.')?;
    let done: u64 = done.parse().ok()?;
    let unreadable: u64 = unreadable.parse().ok()?;
    let count = counted(done, "dead letter was", "dead letters were");
    let mut sentence = match operation {
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
