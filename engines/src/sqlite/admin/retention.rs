//! Retention on SQLite.

use std::time::Instant;

use async_trait::async_trait;
use rusqlite::{Params, Transaction, params};
use trailpad_common::admin::{AdminError, Cutoffs, Purged, Retention};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use crate::sqlite::free_pages::{self, PAGES_PER_STEP};

use super::{SqliteAdmin, execute, micros, store_unavailable};

/// A null cutoff matches nothing.
const COUNT: &str = "
SELECT (SELECT count(*) FROM activities WHERE received_at < ?1) AS activities,
       (SELECT count(*) FROM dead_letter_states d
        WHERE ((d.settled OR d.discarded_at IS NOT NULL) AND d.dead_at < ?2)
           OR (d.settled AND (
              EXISTS (SELECT 1 FROM activities a WHERE a.id = d.id AND a.received_at < ?1)
              OR EXISTS (SELECT 1 FROM activities a
                         WHERE a.webhook_id = d.webhook_id AND a.external_id = d.external_id
                           AND a.received_at < ?1)))) AS dead_letters
";

const OLDEST_ACTIVITIES: &str = "
SELECT id FROM activities WHERE received_at < ?1 ORDER BY received_at, id LIMIT ?2
";

/// Settled or discarded, and dead since before the cutoff.
const OLDEST_DEAD_LETTERS: &str = "
SELECT d.id FROM dead_letter_states d
WHERE (d.settled OR d.discarded_at IS NOT NULL) AND d.dead_at < ?1
ORDER BY d.dead_at LIMIT ?2
";

#[async_trait]
impl Retention for SqliteAdmin {
    async fn count_old(&self, cutoffs: Cutoffs) -> Result<Purged, AdminError> {
        let values = (cutoffs.activities.map(micros), cutoffs.dead_letters.map(micros));
        self.read(|connection| {
            let count = |row: &rusqlite::Row<'_>, column| {
                row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0))
            };
            let purged = connection.query_row(COUNT, values, |row| {
                Ok(Purged {
                    activities: count(row, "activities")?,
                    dead_letters: count(row, "dead_letters")?,
                })
            });
            purged.map_err(store_unavailable)
        })
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<Purged, AdminError> {
        let purged = self.write(|transaction| {
            let mut purged = Purged::default();
            if let Some(before) = cutoffs.dead_letters {
                let values = params![micros(before), limit];
                purged.dead_letters = purge_dead_letters(transaction, OLDEST_DEAD_LETTERS, values)?;
            }
            if let Some(before) = cutoffs.activities {
                let left =
                    limit.saturating_sub(u32::try_from(purged.dead_letters).unwrap_or(limit));
                purge_activities(transaction, before, limit, left, &mut purged)?;
            }
            Ok(purged)
        })?;
        self.give_back().await?;
        Ok(purged)
    }
}

impl SqliteAdmin {
    /// Returns all free pages to the disk, in short transactions, and pauses after each for as long
    /// as it took, so that storing continues.
    async fn give_back(&self) -> Result<(), AdminError> {
        loop {
            let began = Instant::now();
            let left = self.write(|transaction| {
                free_pages::give_back(transaction, PAGES_PER_STEP).map_err(store_unavailable)
            })?;
            if left == 0 {
                break;
            }
            tokio::time::sleep(began.elapsed()).await;
        }
        self.read(|connection| free_pages::checkpoint(connection).map_err(store_unavailable))
    }
}

/// Deletes the dead letters that the oldest activities settle, then the activities.
///
/// If the limit for dead letters is reached, the activities stay for the next call.
fn purge_activities(
    transaction: &Transaction<'_>,
    before: Timestamp,
    limit: u32,
    dead_letters_left: u32,
    purged: &mut Purged,
) -> Result<(), AdminError> {
    // The dead letters that would become open again without these activities.
    let settled = format!(
        "SELECT d.id FROM dead_letters d WHERE d.id IN ({OLDEST_ACTIVITIES})
         UNION
         SELECT d.id FROM activities a
         JOIN dead_letter_states d ON d.webhook_id = a.webhook_id AND d.external_id = a.external_id
         WHERE a.id IN ({OLDEST_ACTIVITIES}) AND d.settled
         LIMIT ?3"
    );
    let values = params![micros(before), limit, dead_letters_left];
    let dead_letters = purge_dead_letters(transaction, &settled, values)?;
    purged.dead_letters += dead_letters;
    if dead_letters < u64::from(dead_letters_left) {
        let sql = format!("DELETE FROM activities WHERE id IN ({OLDEST_ACTIVITIES})");
        purged.activities = execute(transaction, &sql, params![micros(before), limit])? as u64;
    }
    Ok(())
}

/// Deletes the dead letters whose ids `selection` selects, and the records of their actions;
/// returns the number of dead letters.
fn purge_dead_letters(
    transaction: &Transaction<'_>,
    selection: &str,
    values: impl Params,
) -> Result<u64, AdminError> {
    let sql = format!("DELETE FROM dead_letters WHERE id IN ({selection}) RETURNING id");
    let mut statement = transaction.prepare(&sql).map_err(store_unavailable)?;
    let ids =
        statement.query_map(values, |row| row.get::<_, Uuid>(0)).map_err(store_unavailable)?;
    let ids = ids.collect::<rusqlite::Result<Vec<_>>>().map_err(store_unavailable)?;
    for id in &ids {
        let sql = "DELETE FROM dead_letter_actions WHERE dead_letter_id = ?1";
        execute(transaction, sql, params![id])?;
    }
    Ok(ids.len() as u64)
}
