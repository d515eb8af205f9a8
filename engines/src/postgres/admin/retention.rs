//! Retention in PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio_postgres::types::{ToSql, Type};
use trailpad_common::admin::{AdminError, Cutoffs, Purged, Retention};
use trailpad_common::instant::Instant;

use super::{PostgresAdmin, away};

/// A cutoff that is null lets nothing go.
const OLD_ACTIVITIES: &str = "FROM activities WHERE received_at < $1";
const OLD_DEAD_LETTERS: &str = "
FROM dead_letter_states
WHERE ((settled OR discarded_at IS NOT NULL) AND dead_at < $2)
   OR (settled AND received_at < $1)
";

type Cutoff = Option<DateTime<Utc>>;

#[async_trait]
impl Retention for PostgresAdmin {
    async fn count_old(&self, cutoffs: Cutoffs) -> Result<Purged, AdminError> {
        let (activities, dead_letters) = times(cutoffs);
        let parameters = parameters(&activities, &dead_letters);
        let sql = format!(
            "SELECT (SELECT count(*) {OLD_ACTIVITIES}), (SELECT count(*) {OLD_DEAD_LETTERS})"
        );
        let row = self.client().await?.query_typed_one(&sql, &parameters).await.map_err(away)?;
        let count = |at| u64::try_from(row.get::<_, i64>(at)).unwrap_or(0);
        Ok(Purged { activities: count(0), dead_letters: count(1) })
    }

    async fn purge(&self, cutoffs: Cutoffs, limit: u32) -> Result<Purged, AdminError> {
        let (activities, dead_letters) = times(cutoffs);
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(away)?;
        let limit = i64::from(limit);
        let mut parameters = parameters(&activities, &dead_letters);
        parameters.push((&limit, Type::INT8));
        let sql = format!(
            "WITH old AS (SELECT id {OLD_DEAD_LETTERS} ORDER BY dead_at LIMIT $3),
                  records AS (DELETE FROM dead_letter_actions
                              WHERE dead_letter_id IN (SELECT id FROM old))
             DELETE FROM dead_letters WHERE id IN (SELECT id FROM old)"
        );
        let dead_letters = transaction.execute_typed(&sql, &parameters).await.map_err(away)?;
        let mut activities = 0;
        if dead_letters < u64::try_from(limit).unwrap_or(0) {
            let parameters = [parameters[0].clone(), (&limit as &(dyn ToSql + Sync), Type::INT8)];
            let sql = format!(
                "DELETE FROM activities
                 WHERE id IN (SELECT id {OLD_ACTIVITIES} ORDER BY received_at LIMIT $2)"
            );
            activities = transaction.execute_typed(&sql, &parameters).await.map_err(away)?;
        }
        transaction.commit().await.map_err(away)?;
        Ok(Purged { activities, dead_letters })
    }
}

fn times(cutoffs: Cutoffs) -> (Cutoff, Cutoff) {
    (cutoffs.activities.map(Instant::to_datetime), cutoffs.dead_letters.map(Instant::to_datetime))
}

fn parameters<'p>(
    activities: &'p Cutoff,
    dead_letters: &'p Cutoff,
) -> Vec<(&'p (dyn ToSql + Sync), Type)> {
    vec![(activities, Type::TIMESTAMPTZ), (dead_letters, Type::TIMESTAMPTZ)]
}
