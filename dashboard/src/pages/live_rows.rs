//! Live rows over server-sent events (HTML standard, 9.2). Reads the first page again each second, and
//! sends it if it changed. So activities stored by a replay appear too.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::{HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior};
use trailpad_common::admin::ActivityQuery;
use trailpad_common::runtime::lifecycle::Phase;

use super::activities::rows;
use crate::error::PageError;
use crate::session::Viewer;
use crate::state::Dashboard;

const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// After this many polls without a change, a comment is sent: it shows whether the browser is still
/// connected.
const SILENT_POLLS_MAX: u32 = 15;

struct LiveRows {
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    query: ActivityQuery,
    ticks: Interval,
    shown: Option<String>,
    silent_polls: u32,
    _permit: OwnedSemaphorePermit,
}

/// Streams the first page of a query.
pub fn of(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    query: ActivityQuery,
) -> Result<HttpResponse, PageError> {
    let permit = dashboard.streams.clone().try_acquire_owned();
    let permit =
        permit.map_err(|_| PageError::Unavailable("Too many pages are kept up to date".into()))?;
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let live_rows =
        LiveRows { dashboard, viewer, query, ticks, shown: None, silent_polls: 0, _permit: permit };
    let events = stream::unfold(live_rows, async |mut live_rows| {
        let event = live_rows.next().await?;
        Some((Ok::<_, Infallible>(event), live_rows))
    });
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(Box::pin(events)))
}

impl LiveRows {
    /// The next event; `None` once the session or the dashboard has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                _ = self.ticks.tick() => {}
                () = self.dashboard.lifecycle.reached(Phase::Draining) => return None,
            }
            let administration = &self.dashboard.administration;
            // While the store is unavailable, the stream stays open.
            if let Ok(None) = administration.session(self.viewer.session).await {
                return None;
            }
            if let Ok(activities) = administration.page(&self.query).await {
                let rows = rows(&activities).0;
                if self.shown.as_ref() != Some(&rows) {
                    // A line break would end the event's `data` line.
                    let line = rows.replace('\r', "&#13;").replace('\n', "&#10;");
                    let event = format!("event: rows\ndata: {line}\n\n");
                    self.shown = Some(rows);
                    self.silent_polls = 0;
                    return Some(Bytes::from(event));
                }
            }
            self.silent_polls += 1;
            if self.silent_polls >= SILENT_POLLS_MAX {
                self.silent_polls = 0;
                return Some(Bytes::from_static(b": still here\n\n"));
            }
        }
    }
}
