//! Retention on PostgreSQL.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::admin::{AdminError, Cutoffs, Purged, Retention};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{PostgresAdmin, store_unavailable};

/// A null cutoff matches nothing.
const COUNT: &str = "
SELECT (SELECT count(*) FROM activities WHERE received_at < $1) AS activities,
       (SELECT count(*) FROM dead_letter_states d
        WHERE ((d.settled OR d.discarded_at IS NOT NULL) AND d.dead_at < $2)
           OR (d.settled AND (
              EXISTS (SELECT FROM activities a WHERE a.id = d.id AND a.received_at < $1)
              OR EXISTS (SELECT FROM activities a
                         WHERE a.webhook_id = d.webhook_id AND a.external_id = d.external_id
                           AND a.received_at < $1)))) AS dead_letters
";

/// Locked, because a concurrent replacement would renew `received_at`.
const OLDEST_ACTIVITIES: &str = "
SELECT id FROM activities WHERE received_at < $1 ORDER BY received_at, id LIMIT $2 FOR UPDATE
";

/// Settled or discarded, and dead since before the cutoff.
const OLDEST_DEAD_LETTERS: &str = "
SELECT d.id FROM dead_letter_states d
WHERE (d.settled OR d.discarded_at IS NOT NULL) AND d.dead_at < $1
ORDER BY d.dead_at LIMIT $2
";

/// The dead letters that would become open again without these activities.
const SETTLED_BY: &str = "
SELECT d.id FROM dead_letters d WHERE d.id = ANY ($1)
UNION
SELECT d.id FROM activities a
JOIN dead_letter_states d ON d.webhook_id = a.webhook_id AND d.external_id = a.external_id
WHERE a.id = ANY ($1) AND d.settled
LIMIT $2
";

type Parameter<'p> = (&'p (dyn ToSql + Sync), Type);

#[async_trait]
impl Retention for PostgresAdmin {
    async fn count_old(&self, cutoffs: Cutoffs) -> Result<Purged, AdminError> {
        let activities = cutoffs.activities.map(Timestamp::to_datetime);
        let dead_letters = cutoffs.dead_letters.map(Timestamp::to_datetime);
        let parameters: [Parameter<'_>; 2] =
            [(&activities, Type::TIMESTAMPTZ), (&dead_letters, Type::TIMESTAMPTZ)];
        let row = self
            .client()
            .await?
            .query_typed_one(COUNT, &parameters)
            .await
            .map_err(store_unavailable)?;
        let count = |column| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
        Ok(Purged { activities: count("activities"), dead_letters: count("dead_letters") })
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<Purged, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(store_unavailable)?;
        let mut purged = Purged::default();
        if let Some(before) = cutoffs.dead_letters.map(Timestamp::to_datetime) {
            let parameter: Parameter<'_> = (&before, Type::TIMESTAMPTZ);
            purged.dead_letters =
                purge_dead_letters(&transaction, OLDEST_DEAD_LETTERS, parameter, limit).await?;
        }
        if let Some(before) = cutoffs.activities {
            let left = limit.saturating_sub(u32::try_from(purged.dead_letters).unwrap_or(limit));
            purge_activities(&transaction, before, limit, left, &mut purged).await?;
        }
        transaction.commit().await.map_err(store_unavailable)?;
        Ok(purged)
    }
}

/// Deletes the dead letters that the oldest activities settle, then the activities.
///
/// If the limit for dead letters is reached, the activities stay for the next call.
async fn purge_activities(
    transaction: &Transaction<'_>,
    before: Timestamp,
    limit: u32,
    dead_letters_left: u32,
    purged: &mut Purged,
) -> Result<(), AdminError> {
    let before = before.to_datetime();
    let limit = i64::from(limit);
    let parameters: [Parameter<'_>; 2] = [(&before, Type::TIMESTAMPTZ), (&limit, Type::INT8)];
    let oldest =
        transaction.query_typed(OLDEST_ACTIVITIES, &parameters).await.map_err(store_unavailable)?;
    let ids: Vec<Uuid> = oldest.iter().map(|row| row.get(0)).collect();
    let parameter: Parameter<'_> = (&ids, Type::UUID_ARRAY);
    let dead_letters =
        purge_dead_letters(transaction, SETTLED_BY, parameter, dead_letters_left).await?;
    purged.dead_letters += dead_letters;
    if dead_letters < u64::from(dead_letters_left) {
        let sql = "DELETE FROM activities WHERE id = ANY ($1)";
        let deleted = transaction.execute_typed(sql, &[(&ids, Type::UUID_ARRAY)]).await;
        purged.activities = deleted.map_err(store_unavailable)?;
    }
    Ok(())
}

/// Deletes at most `limit` dead letters, and the records of their actions. `selection` selects
/// their ids; `$1` is `parameter`, `$2` the limit.
async fn purge_dead_letters(
    transaction: &Transaction<'_>,
    selection: &str,
    parameter: Parameter<'_>,
    limit: u32,
) -> Result<u64, AdminError> {
    let sql = format!(
        "WITH old AS ({selection}),
              records AS (DELETE FROM dead_letter_actions
                          WHERE dead_letter_id IN (SELECT id FROM old))
         DELETE FROM dead_letters WHERE id IN (SELECT id FROM old)"
    );
    let limit = i64::from(limit);
    transaction
        .execute_typed(&sql, &[parameter, (&limit, Type::INT8)])
        .await
        .map_err(store_unavailable)
}
