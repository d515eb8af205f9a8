//! Dead letters on SQLite: list, count, mark.

use async_trait::async_trait;
use rusqlite::{Row, ToSql, params};
use trailpad_common::admin::{
    Action, AdminError, DeadLetterAdmin, DeadLetterFilter, DeadLetterState, Page, StoredDeadLetter,
};
use trailpad_common::email::Email;
use trailpad_common::id::ActivityId;
use trailpad_common::timestamp::Timestamp;
use uuid::Uuid;

use super::lists::{optional_timestamp, timestamp};
use super::{SqliteAdmin, execute, micros, store_unavailable};

const OF_WORKSPACE: &str = "d.webhook_id IN (
    SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project_id
    WHERE p.workspace_id = :workspace)";

const OPEN: &str = "d.replayed_at IS NULL AND d.discarded_at IS NULL AND NOT d.settled";

const COLUMNS: &str = "
d.id, d.webhook_id, d.external_id, d.member_email, d.reason, d.error, d.attempts, d.received_at,
d.traceparent, d.dead_at, d.replayed_at IS NOT NULL AS replayed,
d.discarded_at IS NOT NULL AS discarded, d.settled,
CASE WHEN :with_payload THEN d.payload END AS payload
";

const PAGE: &str = "
AND (d.dead_at, d.id) < (:after_at, :after_id)
ORDER BY d.dead_at DESC, d.id DESC
LIMIT :limit
";

/// Leaves a dead letter open that failed again after the replay was published.
const REPLAY: &str = "UPDATE dead_letters SET replayed_at = ?2 WHERE id = ?1 AND dead_at <= ?2";
const DISCARD: &str = "UPDATE dead_letters SET discarded_at = ?2 WHERE id = ?1";
const RECORD: &str = "INSERT INTO dead_letter_actions (dead_letter_id, action, done_by, done_at)
                      VALUES (?1, ?2, ?3, ?4)";

/// The `FROM` and `WHERE` clauses of a filter, and their values.
///
/// They hold a condition only for each field that the filter sets: SQLite plans a statement before
/// it knows the values, and a statement that covers every case would use no index.
struct Matching<'a> {
    sql: String,
    values: Vec<(&'static str, Box<dyn ToSql + 'a>)>,
}

impl<'a> Matching<'a> {
    fn of(filter: &'a DeadLetterFilter) -> Self {
        let sql = "FROM dead_letter_states d WHERE true".to_owned();
        let mut matching = Self { sql, values: Vec::new() };
        matching.and("d.id = :id", ":id", filter.id.map(|id| id.uuid()));
        let webhook = filter.webhook_id.map(|id| id.uuid());
        matching.and("d.webhook_id = :webhook", ":webhook", webhook);
        matching.and("d.reason = :reason", ":reason", filter.reason.as_deref());
        let member = filter.member_email.as_ref().map(Email::as_str);
        matching.and("d.member_email = :member", ":member", member);
        matching.and("d.dead_at < :dead_before", ":dead_before", filter.dead_before.map(micros));
        matching.and(OF_WORKSPACE, ":workspace", filter.workspace_id.map(|id| id.uuid()));
        if !filter.with_ended {
            matching.sql.push_str(&format!(" AND {OPEN}"));
        }
        matching
    }

    fn and<T: ToSql + 'a>(&mut self, condition: &str, name: &'static str, value: Option<T>) {
        if let Some(value) = value {
            self.sql.push_str(&format!(" AND {condition}"));
            self.values.push((name, Box::new(value)));
        }
    }
}

#[async_trait]
impl DeadLetterAdmin for SqliteAdmin {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        page: Page,
    ) -> Result<Vec<StoredDeadLetter>, AdminError> {
        let (after_at, after_id) = page
            .after
            .map_or((i64::MAX, Uuid::max()), |cursor| (micros(cursor.at), cursor.id.uuid()));
        self.read(|connection| {
            let Matching { sql, mut values } = Matching::of(filter);
            values.extend([
                (":with_payload", Box::new(page.with_payload) as Box<dyn ToSql>),
                (":after_at", Box::new(after_at)),
                (":after_id", Box::new(after_id)),
                (":limit", Box::new(page.limit)),
            ]);
            let sql = format!("SELECT {COLUMNS} {sql} {PAGE}");
            let mut statement = connection.prepare_cached(&sql).map_err(store_unavailable)?;
            let rows =
                statement.query_map(&values[..], stored_dead_letter).map_err(store_unavailable)?;
            rows.collect::<rusqlite::Result<_>>().map_err(store_unavailable)
        })
    }

    async fn count_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        count_max: u32,
    ) -> Result<u64, AdminError> {
        self.read(|connection| {
            let Matching { sql, mut values } = Matching::of(filter);
            values.push((":limit", Box::new(count_max)));
            let sql = format!("SELECT count(*) FROM (SELECT 1 {sql} LIMIT :limit)");
            let count = connection.query_row(&sql, &values[..], |row| row.get::<_, i64>(0));
            Ok(u64::try_from(count.map_err(store_unavailable)?).unwrap_or(0))
        })
    }

    async fn mark_dead_letters(
        &self,
        ids: &[ActivityId],
        action: Action,
        by: &str,
    ) -> Result<(), AdminError> {
        let now = Timestamp::now();
        let (sql, at) = match action {
            Action::Replay { published_at } => (REPLAY, published_at),
            Action::Discard => (DISCARD, now),
        };
        self.write(|transaction| {
            for id in ids {
                execute(transaction, sql, params![id.uuid(), micros(at)])?;
                let record = params![id.uuid(), action.as_str(), by, micros(now)];
                execute(transaction, RECORD, record)?;
            }
            Ok(())
        })
    }
}

fn stored_dead_letter(row: &Row<'_>) -> rusqlite::Result<StoredDeadLetter> {
    let state =
        DeadLetterState::of(row.get("settled")?, row.get("replayed")?, row.get("discarded")?);
    Ok(StoredDeadLetter {
        id: row.get::<_, Uuid>("id")?.into(),
        webhook_id: row.get::<_, Option<Uuid>>("webhook_id")?.map(Into::into),
        external_id: row.get("external_id")?,
        member_email: row.get_ref("member_email")?.as_str_or_null()?.map(Email::folded),
        reason: row.get("reason")?,
        error: row.get("error")?,
        attempts: row.get("attempts")?,
        received_at: optional_timestamp(row, "received_at")?,
        traceparent: row.get("traceparent")?,
        dead_at: timestamp(row, "dead_at")?,
        state,
        payload: row.get("payload")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::file::open;
    use super::super::super::migrate::{STORE, migrate};
    use super::*;

    /// The first step of SQLite's plan for a page.
    fn plan(connection: &rusqlite::Connection, filter: &DeadLetterFilter) -> String {
        let Matching { sql, mut values } = Matching::of(filter);
        for name in [":after_at", ":after_id", ":limit"] {
            values.push((name, Box::new(0)));
        }
        let sql = format!("EXPLAIN QUERY PLAN SELECT d.id {sql} {PAGE}");
        let mut statement = connection.prepare(&sql).expect("the statement should be valid");
        let first = statement.query_row(&values[..], |row| row.get("detail"));
        first.expect("the plan should have a step")
    }

    #[test]
    fn each_filter_uses_the_index_for_it() {
        let path = std::env::temp_dir().join(format!("trailpad-{}.db", Uuid::now_v7()));
        std::fs::File::create(&path).expect("the file should be created");
        migrate(&path, &STORE).expect("the migration should succeed");
        let connection = open(&path).expect("the file should open");
        let none = DeadLetterFilter::default;
        let workspace_id = Some(trailpad_common::id::WorkspaceId::generate());
        let jane = Email::parse("jane@example.com").ok();
        for (filter, index) in [
            (none(), "dead_letters_open"),
            (DeadLetterFilter { workspace_id, ..none() }, "dead_letters_open"),
            (DeadLetterFilter { member_email: jane, ..none() }, "dead_letters_member_email"),
            (DeadLetterFilter { with_ended: true, ..none() }, "dead_letters_dead_at"),
            (DeadLetterFilter { id: Some(Uuid::nil().into()), ..none() }, "(id=?)"),
        ] {
            let plan = plan(&connection, &filter);
            assert!(plan.starts_with("SEARCH d USING") && plan.contains(index), "{plan}");
        }
        std::fs::remove_file(&path).expect("the file should be removed");
    }
}
