//! Rows that stay up to date: server-sent events (HTML standard, 9.2). Each second the first page
//! is read again, and sent if it is another than before; so what a replay stored shows too.

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

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So often something is sent though nothing changed: it shows whether anybody still listens.
const SILENT_LOOKS_MAX: u32 = 15;

struct LiveRows {
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    query: ActivityQuery,
    ticks: Interval,
    shown: Option<String>,
    silent_looks: u32,
    _permit: OwnedSemaphorePermit,
}

/// The stream of a query's first page.
pub fn of(
    dashboard: web::Data<Dashboard>,
    viewer: Viewer,
    query: ActivityQuery,
) -> Result<HttpResponse, PageError> {
    let permit = dashboard.streams.clone().try_acquire_owned();
    let permit =
        permit.map_err(|_| PageError::Away("Too many pages are kept up to date".into()))?;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let looking =
        LiveRows { dashboard, viewer, query, ticks, shown: None, silent_looks: 0, _permit: permit };
    let events = stream::unfold(looking, async |mut looking| {
        let event = looking.next().await?;
        Some((Ok::<_, Infallible>(event), looking))
    });
    Ok(HttpResponse::Ok().content_type("text/event-stream").streaming(Box::pin(events)))
}

impl LiveRows {
    /// The next event; none: the session or the dashboard has ended.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                _ = self.ticks.tick() => {}
                () = self.dashboard.lifecycle.reached(Phase::Draining) => return None,
            }
            let stores = &self.dashboard.stores;
            // A store that is away is asked again.
            if let Ok(None) = stores.sign_in.session(self.viewer.session).await {
                return None;
            }
            if let Ok(activities) = stores.arrivals.page(&self.query).await {
                let rows = rows(&activities).0;
                if self.shown.as_ref() != Some(&rows) {
                    // A line break would end the event's line.
                    let line = rows.replace('\r', "&#13;").replace('\n', "&#10;");
                    let event = format!("event: rows\ndata: {line}\n\n");
                    self.shown = Some(rows);
                    self.silent_looks = 0;
                    return Some(Bytes::from(event));
                }
            }
            self.silent_looks += 1;
            if self.silent_looks >= SILENT_LOOKS_MAX {
                self.silent_looks = 0;
                return Some(Bytes::from_static(b": still here\n\n"));
            }
        }
    }
}
