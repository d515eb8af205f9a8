//! Retention in PostgreSQL.

use async_trait::async_trait;
use deadpool_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::admin::{AdminError, Cutoffs, Purged, Retention};
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::{PostgresAdmin, away};

/// A cutoff that is null lets nothing go.
const COUNT: &str = "
SELECT (SELECT count(*) FROM activities WHERE received_at < $1),
       (SELECT count(*) FROM dead_letter_states d
        WHERE ((d.settled OR d.discarded_at IS NOT NULL) AND d.dead_at < $2)
           OR (d.settled AND (
              EXISTS (SELECT FROM activities a WHERE a.id = d.id AND a.received_at < $1)
              OR EXISTS (SELECT FROM activities a
                         WHERE a.webhook_id = d.webhook_id AND a.external_id = d.external_id
                           AND a.received_at < $1))))
";

/// The oldest; locked, so that none of them is replaced, and so made young again, meanwhile.
const OLDEST_ACTIVITIES: &str = "
SELECT id FROM activities WHERE received_at < $1 ORDER BY received_at, id LIMIT $2 FOR UPDATE
";

/// Dealt with, and given up before the cutoff.
const OLDEST_DEAD_LETTERS: &str = "
SELECT d.id FROM dead_letter_states d
WHERE (d.settled OR d.discarded_at IS NOT NULL) AND d.dead_at < $1
ORDER BY d.dead_at LIMIT $2
";

/// Those that would look open again without these activities.
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
        let row = self.client().await?.query_typed_one(COUNT, &parameters).await.map_err(away)?;
        let count = |at| u64::try_from(row.get::<_, i64>(at)).unwrap_or(0);
        Ok(Purged { activities: count(0), dead_letters: count(1) })
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<Purged, AdminError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let mut purged = Purged::default();
        if let Some(before) = cutoffs.dead_letters.map(Timestamp::to_datetime) {
            let chosen = (OLDEST_DEAD_LETTERS, (&before as _, Type::TIMESTAMPTZ));
            purged.dead_letters = purge_dead_letters(&transaction, chosen, limit).await?;
        }
        if let Some(before) = cutoffs.activities {
            let left = limit.saturating_sub(u32::try_from(purged.dead_letters).unwrap_or(limit));
            purge_activities(&transaction, before, limit, left, &mut purged).await?;
        }
        transaction.commit().await.map_err(away)?;
        Ok(purged)
    }
}

/// Deletes the oldest activities, after the dead letters that they settle; where these are as many
/// as may still go, the activities stay for the next time.
async fn purge_activities(
    transaction: &Transaction<'_>,
    before: Timestamp,
    limit: u32,
    dead_letters_left: u32,
    purged: &mut Purged,
) -> Result<(), AdminError> {
    let (before, limit) = (before.to_datetime(), i64::from(limit));
    let parameters: [Parameter<'_>; 2] = [(&before, Type::TIMESTAMPTZ), (&limit, Type::INT8)];
    let oldest = transaction.query_typed(OLDEST_ACTIVITIES, &parameters).await.map_err(away)?;
    let ids: Vec<Uuid> = oldest.iter().map(|row| row.get(0)).collect();
    let chosen = (SETTLED_BY, (&ids as _, Type::UUID_ARRAY));
    let dead_letters = purge_dead_letters(transaction, chosen, dead_letters_left).await?;
    purged.dead_letters += dead_letters;
    if dead_letters < u64::from(dead_letters_left) {
        let sql = "DELETE FROM activities WHERE id = ANY ($1)";
        let deleted = transaction.execute_typed(sql, &[(&ids, Type::UUID_ARRAY)]).await;
        purged.activities = deleted.map_err(away)?;
    }
    Ok(())
}

/// Deletes at most `limit` of what a statement of one parameter chooses, with their records.
async fn purge_dead_letters(
    transaction: &Transaction<'_>,
    (chosen, parameter): (&str, Parameter<'_>),
    limit: u32,
) -> Result<u64, AdminError> {
    let sql = format!(
        "WITH old AS ({chosen}),
              records AS (DELETE FROM dead_letter_actions
                          WHERE dead_letter_id IN (SELECT id FROM old))
         DELETE FROM dead_letters WHERE id IN (SELECT id FROM old)"
    );
    let limit = i64::from(limit);
    transaction.execute_typed(&sql, &[parameter, (&limit, Type::INT8)]).await.map_err(away)
}
