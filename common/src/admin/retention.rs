//! Letting go of what is old.

use async_trait::async_trait;

use super::AdminError;
use crate::timestamp::Timestamp;

/// Before when things may go; what has none stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutoffs {
    /// Activities that were received before this, and the dead letters that they settle.
    pub activities: Option<Timestamp>,
    /// Dead letters that were given up before this, and settled or discarded.
    pub dead_letters: Option<Timestamp>,
}

/// How many of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Activities.
    pub activities: u64,
    /// Dead letters.
    pub dead_letters: u64,
}

/// Deletes what is old, a little at a time. Of what is open, nothing ever goes.
#[async_trait]
pub trait Retention: Send + Sync {
    /// How many would go.
    async fn count_old(&self, cutoffs: Cutoffs) -> Result<Purged, AdminError>;

    /// Deletes at most `limit` of each in one short transaction; tells how many. A dead letter goes
    /// before the activity that settles it, because without that it would look open again.
    ///
    /// Each call with a cutoff for dead letters passes over those that stay, so a caller is done
    /// with these before it asks for the activities.
    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<Purged, AdminError>;
}
