//! A search among the activities of a scope. No index helps to find a word within a title, or a
//! member's activities within a project, and one that did would cost every insert; so a search
//! looks at rows, newest first, and stops after so many: a person may then go on from there.

use std::time::{Duration, Instant};

use trailpad_common::admin::{ActivityQueries, ActivityQuery, AdminError, ListedActivity};
use trailpad_common::id::{ActivityId, MemberId, ProjectId};
use trailpad_common::timestamp::Timestamp;

/// Rows of the first step; each further step takes twice as many, up to the most.
const FIRST_ROWS: u32 = 100;
const STEP_ROWS_MAX: u32 = 2_000;
/// What one page looks at.
const LOOKED_AT_MAX: usize = 50_000;
const LOOKING_MAX: Duration = Duration::from_secs(1);

/// What is looked for among the activities of a scope.
pub struct Wanted {
    /// Only those of this project.
    pub project_id: Option<ProjectId>,
    /// Only those assigned to this member.
    pub member_id: Option<MemberId>,
    /// Only those whose title contains this, in lower case.
    pub title: Option<String>,
}

impl Wanted {
    /// Whether it is every one.
    pub fn is_all(&self) -> bool {
        self.project_id.is_none() && self.member_id.is_none() && self.title.is_none()
    }

    fn is(&self, activity: &ListedActivity) -> bool {
        self.project_id.is_none_or(|id| id == activity.project_id)
            && self.member_id.is_none_or(|id| id == activity.member_id)
            && self.title.as_ref().is_none_or(|text| activity.title.to_lowercase().contains(text))
    }
}

/// What a search found.
pub struct Found {
    /// At most as many as were asked for.
    pub activities: Vec<ListedActivity>,
    /// The last row that was looked at, if there may be more below.
    pub looked_down_to: Option<(Timestamp, ActivityId)>,
}

/// Those that are wanted of a query's rows; at most as many as the query's limit.
///
/// # Errors
/// The store is away.
pub async fn search(
    arrivals: &dyn ActivityQueries,
    query: &ActivityQuery,
    wanted: &Wanted,
) -> Result<Found, AdminError> {
    let began = Instant::now();
    let mut step = ActivityQuery { limit: FIRST_ROWS, ..query.clone() };
    let (mut activities, mut looked_at) = (Vec::new(), 0);
    loop {
        let rows = arrivals.page(&step).await?;
        let is_last = rows.len() < step.limit as usize;
        looked_at += rows.len();
        for row in rows {
            step.after = Some((row.received_at, row.id));
            if wanted.is(&row) {
                activities.push(row);
            }
            if activities.len() == query.limit as usize {
                return Ok(Found { activities, looked_down_to: step.after });
            }
        }
        if is_last {
            return Ok(Found { activities, looked_down_to: None });
        }
        if looked_at >= LOOKED_AT_MAX || began.elapsed() >= LOOKING_MAX {
            return Ok(Found { activities, looked_down_to: step.after });
        }
        step.limit = (step.limit * 2).min(STEP_ROWS_MAX);
    }
}
