//! Activities in pages, traffic and rejected requests on SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};
use trailpad_common::admin::{
    ActivityQueries, ActivityQuery, ActivityScope, AdminError, ListedActivity, Missing,
    StoredActivity, Traffic,
};
use trailpad_common::email::Email;
use trailpad_common::failure::Unavailable;
use trailpad_common::id::{ActivityId, WebhookId, WorkspaceId};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::{Counts, REJECTED_KEPT, RejectedRequest, TrafficLog, span_of};
use uuid::Uuid;

use super::lists::{ACTIVITY_COLUMNS, BEGINNING, activity, all, optional_timestamp, timestamp};
use super::{SqliteAdmin, micros, store_unavailable};
use crate::sqlite::error::unavailable;

const LISTED_COLUMNS: &str = r#"
a.id, a.project_id, a.member_id, m.email AS member_email, a.title, a."trigger", a.event, a.start_time,
a.external_id, a.received_at
"#;

const OF_WORKSPACE: &str = "
FROM activities a
JOIN members m ON m.id = a.member_id
JOIN projects p ON p.id = a.project_id AND p.workspace_id = :workspace
";

/// A single upper bound: given two, SQLite may seek to the wrong one.
const PAGE: &str = "
AND a.received_at >= :from AND (a.received_at, a.id) < (:after_at, :after_id)
ORDER BY a.received_at DESC, a.id DESC LIMIT :limit
";

const LAST_ACTIVITIES: &str = "
SELECT w.id AS webhook_id,
       (SELECT a.received_at FROM activities a WHERE a.webhook_id = w.id
        ORDER BY a.received_at DESC, a.id DESC LIMIT 1) AS received_at
FROM webhooks w
JOIN projects p ON p.id = w.project_id AND p.workspace_id = ?1
";

const TRAFFIC: &str = "
SELECT t.webhook_id, t.span, t.accepted, t.refused, t.stored, t.dead
FROM webhooks w
JOIN projects p ON p.id = w.project_id AND p.workspace_id = ?1
JOIN webhook_traffic t ON t.webhook_id = w.id AND t.span >= ?3
WHERE w.id = ?2
ORDER BY t.span
";

const ADD_COUNTS: &str = "
INSERT INTO webhook_traffic (webhook_id, span, accepted, refused, stored, dead)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (webhook_id, span) DO UPDATE
SET accepted = accepted + excluded.accepted, refused = refused + excluded.refused,
    stored = stored + excluded.stored, dead = dead + excluded.dead
";

const TRIM_REJECTED: &str = "
DELETE FROM refused_requests WHERE webhook_id = ?1 AND id <= (
    SELECT o.id FROM refused_requests o WHERE o.webhook_id = ?1
    ORDER BY o.id DESC LIMIT 1 OFFSET ?2)
";

#[async_trait]
impl ActivityQueries for SqliteAdmin {
    async fn page(&self, query: &ActivityQuery) -> Result<Vec<ListedActivity>, AdminError> {
        let (column, keys) = self.read(|connection| keys_of(connection, query))?;
        let mut rows = Vec::new();
        // An index returns the newest rows of each key in order. Between the keys, other tasks may
        // use the connection.
        for key in keys {
            rows.extend(self.read(|connection| page_of(connection, column, key, query))?);
        }
        rows.sort_by_key(|row: &ListedActivity| std::cmp::Reverse((row.received_at, row.id)));
        rows.truncate(query.limit as usize);
        Ok(rows)
    }

    async fn activity(
        &self,
        workspace_id: WorkspaceId,
        id: ActivityId,
    ) -> Result<StoredActivity, AdminError> {
        let sql = format!("SELECT {ACTIVITY_COLUMNS} {OF_WORKSPACE} WHERE a.id = :id");
        let values = named_params! { ":workspace": workspace_id.uuid(), ":id": id.uuid() };
        let found = self.read(|connection| {
            connection.query_row(&sql, values, activity).optional().map_err(store_unavailable)
        })?;
        found.ok_or_else(|| Missing::Activity(id).into())
    }

    async fn last_activities(
        &self,
        workspace_id: WorkspaceId,
    ) -> Result<Vec<(WebhookId, Timestamp)>, AdminError> {
        let read = |row: &Row<'_>| {
            let webhook_id = WebhookId::from(row.get::<_, Uuid>("webhook_id")?);
            let received_at = optional_timestamp(row, "received_at")?;
            Ok(received_at.map(|received_at| (webhook_id, received_at)))
        };
        let last =
            self.read(|connection| all(connection, LAST_ACTIVITIES, [workspace_id.uuid()], read))?;
        Ok(last.into_iter().flatten().collect())
    }

    async fn traffic(
        &self,
        workspace_id: WorkspaceId,
        webhooks: &[WebhookId],
        since: Timestamp,
    ) -> Result<Vec<Traffic>, AdminError> {
        let mut found = Vec::new();
        for webhook in webhooks {
            let values = params![workspace_id.uuid(), webhook.uuid(), micros(since)];
            found.extend(self.read(|connection| all(connection, TRAFFIC, values, traffic))?);
        }
        found.sort_by_key(|part| part.span);
        Ok(found)
    }

    async fn refused(
        &self,
        webhook_id: WebhookId,
        limit: u32,
    ) -> Result<Vec<RejectedRequest>, AdminError> {
        let sql = "SELECT at, problem FROM refused_requests WHERE webhook_id = ?1
                   ORDER BY id DESC LIMIT ?2";
        let read = |row: &Row<'_>| {
            let at = timestamp(row, "at")?;
            Ok(RejectedRequest { webhook_id, at, problem: row.get("problem")? })
        };
        self.read(|connection| all(connection, sql, params![webhook_id.uuid(), limit], read))
    }
}

/// Returns the column of the query's scope, and the values of that column to search for.
fn keys_of(
    connection: &Connection,
    query: &ActivityQuery,
) -> Result<(&'static str, Vec<Uuid>), AdminError> {
    Ok(match query.scope {
        ActivityScope::Webhook(id) => ("webhook_id", vec![id.uuid()]),
        ActivityScope::Project(id) => ("project_id", vec![id.uuid()]),
        ActivityScope::Member(id) => ("member_id", vec![id.uuid()]),
        ActivityScope::Workspace => {
            let sql = "SELECT id FROM projects WHERE workspace_id = ?1";
            ("project_id", all(connection, sql, [query.workspace_id.uuid()], |row| row.get(0))?)
        }
    })
}

fn page_of(
    connection: &Connection,
    column: &str,
    key: Uuid,
    query: &ActivityQuery,
) -> Result<Vec<ListedActivity>, AdminError> {
    let sql = format!("SELECT {LISTED_COLUMNS} {OF_WORKSPACE} WHERE a.{column} = :key {PAGE}");
    let after = query.after.map_or(BEGINNING, |cursor| (micros(cursor.at), cursor.id.uuid()));
    let until = query.until.map_or(BEGINNING, |until| (micros(until), Uuid::nil()));
    let (after_at, after_id) = after.min(until);
    let values = named_params! {
        ":workspace": query.workspace_id.uuid(),
        ":key": key,
        ":from": query.from.map_or(i64::MIN, micros),
        ":after_at": after_at,
        ":after_id": after_id,
        ":limit": query.limit,
    };
    all(connection, &sql, values, listed_activity)
}

fn listed_activity(row: &Row<'_>) -> rusqlite::Result<ListedActivity> {
    Ok(ListedActivity {
        id: row.get::<_, Uuid>("id")?.into(),
        project_id: row.get::<_, Uuid>("project_id")?.into(),
        member_id: row.get::<_, Uuid>("member_id")?.into(),
        member_email: Email::folded(row.get_ref("member_email")?.as_str()?),
        title: row.get("title")?,
        trigger: row.get("trigger")?,
        event: row.get("event")?,
        start_time: timestamp(row, "start_time")?,
        external_id: row.get("external_id")?,
        received_at: timestamp(row, "received_at")?,
    })
}

fn traffic(row: &Row<'_>) -> rusqlite::Result<Traffic> {
    Ok(Traffic {
        webhook_id: row.get::<_, Uuid>("webhook_id")?.into(),
        span: timestamp(row, "span")?,
        counts: Counts {
            accepted: row.get("accepted")?,
            refused: row.get("refused")?,
            stored: row.get("stored")?,
            dead: row.get("dead")?,
        },
    })
}

#[async_trait]
impl TrafficLog for SqliteAdmin {
    async fn record(
        &self,
        at: Timestamp,
        counts: &[(WebhookId, Counts)],
        refused: &[RejectedRequest],
    ) -> Result<(), Unavailable> {
        let written = self.database.with(|connection| {
            let transaction = connection.transaction()?;
            counts.iter().try_for_each(|(id, counts)| add_counts(&transaction, at, *id, counts))?;
            refused.iter().try_for_each(|refused| insert_rejected(&transaction, refused))?;
            transaction.commit()
        });
        written.map_err(|error| unavailable(&error))
    }

    async fn forget(&self, before: Timestamp) -> Result<(), Unavailable> {
        let sql = "DELETE FROM webhook_traffic WHERE span < ?1";
        let deleted = self.database.with(|connection| connection.execute(sql, [micros(before)]));
        deleted.map(|_| ()).map_err(|error| unavailable(&error))
    }
}

fn add_counts(
    transaction: &Transaction<'_>,
    at: Timestamp,
    webhook: WebhookId,
    counts: &Counts,
) -> rusqlite::Result<()> {
    let Counts { accepted, refused, stored, dead } = *counts;
    let values = params![webhook.uuid(), micros(span_of(at)), accepted, refused, stored, dead];
    transaction.prepare_cached(ADD_COUNTS)?.execute(values)?;
    Ok(())
}

fn insert_rejected(
    transaction: &Transaction<'_>,
    refused: &RejectedRequest,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO refused_requests (webhook_id, at, problem) VALUES (?1, ?2, ?3)";
    let webhook = refused.webhook_id.uuid();
    let at = micros(refused.at);
    transaction.prepare_cached(sql)?.execute(params![webhook, at, refused.problem])?;
    transaction.prepare_cached(TRIM_REJECTED)?.execute(params![webhook, REJECTED_KEPT])?;
    Ok(())
}
