//! Searches the activities of a scope. No index supports a word within a title, or a member's
//! activities within a project, and such an index would slow down every insert. So a search scans
//! rows, newest first, and stops at a limit; the reader can continue from there.

use std::time::{Duration, Instant};

use trailpad_common::admin::{ActivityQueries, ActivityQuery, AdminError, Cursor, ListedActivity};
use trailpad_common::id::{MemberId, ProjectId};

/// Rows of the first step. Each further step reads twice as many, up to [`STEP_ROWS_MAX`].
const FIRST_ROWS: u32 = 100;
const STEP_ROWS_MAX: u32 = 2_000;
/// Limits of one search.
const SCANNED_ROWS_MAX: usize = 50_000;
const SCAN_TIME_MAX: Duration = Duration::from_secs(1);

/// Conditions that an activity must meet; `None` matches all.
pub struct Criteria {
    pub project_id: Option<ProjectId>,
    /// The member that the activity is assigned to.
    pub member_id: Option<MemberId>,
    /// Part of the title, in lower case.
    pub title: Option<String>,
}

impl Criteria {
    pub fn is_empty(&self) -> bool {
        self.project_id.is_none() && self.member_id.is_none() && self.title.is_none()
    }

    fn matches(&self, activity: &ListedActivity) -> bool {
        self.project_id.is_none_or(|id| id == activity.project_id)
            && self.member_id.is_none_or(|id| id == activity.member_id)
            && self.title.as_ref().is_none_or(|text| activity.title.to_lowercase().contains(text))
    }
}

pub struct Found {
    pub activities: Vec<ListedActivity>,
    /// Cursor of the last scanned row, if more rows may follow.
    pub scanned_to: Option<Cursor>,
}

/// Returns the rows of `query` that meet the criteria, at most as many as its limit.
///
/// # Errors
/// The store is unavailable.
pub async fn search(
    queries: &dyn ActivityQueries,
    query: &ActivityQuery,
    criteria: &Criteria,
) -> Result<Found, AdminError> {
    let began = Instant::now();
    let mut step = ActivityQuery { limit: FIRST_ROWS, ..query.clone() };
    let mut activities = Vec::new();
    let mut scanned = 0;
    loop {
        let rows = queries.page(&step).await?;
        let is_last = rows.len() < step.limit as usize;
        scanned += rows.len();
        for row in rows {
            step.after = Some(Cursor { at: row.received_at, id: row.id });
            if criteria.matches(&row) {
                activities.push(row);
            }
            if activities.len() == query.limit as usize {
                return Ok(Found { activities, scanned_to: step.after });
            }
        }
        if is_last {
            return Ok(Found { activities, scanned_to: None });
        }
        if scanned >= SCANNED_ROWS_MAX || began.elapsed() >= SCAN_TIME_MAX {
            return Ok(Found { activities, scanned_to: step.after });
        }
        step.limit = (step.limit * 2).min(STEP_ROWS_MAX);
    }
}
