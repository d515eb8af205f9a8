//! Retention in a file.

use async_trait::async_trait;
use rusqlite::params;
use trailpad_common::admin::{AdminError, Cutoffs, Purged, Retention};

use super::{SqliteAdmin, away, execute, micros};

/// A cutoff that is null lets nothing go.
const OLD_ACTIVITIES: &str = "FROM activities WHERE received_at < ?1";
const OLD_DEAD_LETTERS: &str = "
FROM dead_letter_states
WHERE ((settled OR discarded_at IS NOT NULL) AND dead_at < ?2)
   OR (settled AND received_at < ?1)
";

#[async_trait]
impl Retention for SqliteAdmin {
    async fn count_old(&self, cutoffs: Cutoffs) -> Result<Purged, AdminError> {
        let values = (cutoffs.activities.map(micros), cutoffs.dead_letters.map(micros));
        self.read(|connection| {
            let sql = format!(
                "SELECT (SELECT count(*) {OLD_ACTIVITIES}), (SELECT count(*) {OLD_DEAD_LETTERS})"
            );
            let count = |row: &rusqlite::Row<'_>, at| {
                row.get::<_, i64>(at).map(|count| u64::try_from(count).unwrap_or(0))
            };
            let purged = connection.query_row(&sql, values, |row| {
                Ok(Purged { activities: count(row, 0)?, dead_letters: count(row, 1)? })
            });
            purged.map_err(away)
        })
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<Purged, AdminError> {
        let (old_activities, old_dead) =
            (cutoffs.activities.map(micros), cutoffs.dead_letters.map(micros));
        self.write(|transaction| {
            let chosen = format!("SELECT id {OLD_DEAD_LETTERS} ORDER BY dead_at LIMIT ?3");
            let values = params![old_activities, old_dead, limit];
            let sql = format!("DELETE FROM dead_letter_actions WHERE dead_letter_id IN ({chosen})");
            execute(transaction, &sql, values)?;
            let sql = format!("DELETE FROM dead_letters WHERE id IN ({chosen})");
            let dead_letters = execute(transaction, &sql, values)? as u64;
            let mut activities = 0;
            if dead_letters < u64::from(limit) {
                let sql = format!(
                    "DELETE FROM activities
                     WHERE id IN (SELECT id {OLD_ACTIVITIES} ORDER BY received_at LIMIT ?2)"
                );
                activities = execute(transaction, &sql, params![old_activities, limit])? as u64;
            }
            Ok(Purged { activities, dead_letters })
        })
    }
}
