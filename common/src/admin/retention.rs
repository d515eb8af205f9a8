//! Deletion of old activities and dead letters.

use async_trait::async_trait;

use super::AdminError;
use crate::timestamp::Timestamp;

/// Cutoff for each kind; `None` keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutoffs {
    /// Deletes activities received before this, and the dead letters that they settle.
    pub activities: Option<Timestamp>,
    /// Deletes settled and discarded dead letters with an earlier `dead_at`.
    pub dead_letters: Option<Timestamp>,
}

/// Numbers of rows that a purge deletes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    pub activities: u64,
    pub dead_letters: u64,
}

/// Deletes old rows in small steps. Never deletes an open dead letter.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Counts the rows that a purge would delete.
    async fn count_old(&self, cutoffs: Cutoffs) -> Result<Purged, AdminError>;

    /// Deletes at most `limit` rows of each kind in one short transaction. Deletes a dead letter
    /// before the activity that settles it, because without the activity it would look open again.
    ///
    /// Each call with a cutoff for dead letters scans the dead letters that stay. A caller therefore
    /// finishes the dead letters before it deletes activities.
    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<Purged, AdminError>;
}
