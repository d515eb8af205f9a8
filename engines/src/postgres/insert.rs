//! The statements that store a batch of activities: one array per column.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Transaction};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};
use trailpad_common::id::ActivityId;
use trailpad_common::store::NewActivity;
use trailpad_common::store::coalesce::{CoalescedRow, coalesce, coalesced_under, replaces};
use uuid::Uuid;

/// Declares the columns of a stored activity: name, Rust type, PostgreSQL type, value.
///
/// The statements, the arrays they bind and their order all come from this one list.
macro_rules! columns {
    ($row:ident: $($name:ident: $rust:ty, $array:ident $sql:literal = $value:expr;)+) => {
        const COLUMNS: &[(&str, &str)] = &[$((stringify!($name), $sql),)+];

        /// A batch as columns that borrow from it.
        #[derive(Default)]
        struct Columns<'a> { $($name: Vec<$rust>,)+ }

        impl<'a> Columns<'a> {
            fn push(&mut self, $row: &CoalescedRow<'a, 'a>) {
                $(self.$name.push($value);)+
            }

            fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
                vec![$((&self.$name, Type::$array),)+]
            }
        }
    };
}

columns! { row:
    id: Uuid, UUID_ARRAY "uuid" = row.id.uuid();
    content_id: Uuid, UUID_ARRAY "uuid" = row.content.id.uuid();
    replaces: bool, BOOL_ARRAY "bool" = replaces(row.content);
    webhook_id: Uuid, UUID_ARRAY "uuid" = row.content.webhook_id.uuid();
    project_id: Uuid, UUID_ARRAY "uuid" = row.content.project_id.uuid();
    member_id: Uuid, UUID_ARRAY "uuid" = row.content.member_id.uuid();
    external_id: Option<&'a str>, TEXT_ARRAY "text" = row.content.activity.external_id.as_deref();
    title: &'a str, TEXT_ARRAY "text" = &row.content.activity.title;
    description: Option<&'a str>, TEXT_ARRAY "text" = row.content.activity.description.as_deref();
    start_time: DateTime<Utc>, TIMESTAMPTZ_ARRAY "timestamptz" =
        row.content.activity.start_time.to_datetime();
    end_time: Option<DateTime<Utc>>, TIMESTAMPTZ_ARRAY "timestamptz" =
        row.content.activity.end_time.map(|end| end.to_datetime());
    trigger: Option<&'a str>, TEXT_ARRAY "text" = row.content.activity.trigger.as_deref();
    event: Option<&'a str>, TEXT_ARRAY "text" = row.content.activity.event.as_deref();
    metadata: Option<&'a str>, TEXT_ARRAY "text" = row.content.activity.metadata;
    received_at: DateTime<Utc>, TIMESTAMPTZ_ARRAY "timestamptz" =
        row.content.received_at.to_datetime();
}

/// A replacement leaves these unchanged: they identify the row.
const KEY_COLUMNS: [&str; 3] = ["id", "webhook_id", "external_id"];

/// The conflict target is named, so that a further unique index of the operator refuses a row
/// instead of making it a duplicate that nobody sees.
static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO activities ({names}) SELECT {values} FROM {rows}
         WHERE NOT EXISTS (SELECT FROM activities a WHERE a.id = r.id)
         ON CONFLICT (webhook_id, external_id) WHERE external_id IS NOT NULL DO NOTHING",
        names = list(|name, _| format!("\"{name}\"")),
        values = list(|name, _| value(name)),
        rows = rows(),
    )
});

/// Stores the rows one by one inside the server, and returns the outcome of each: see the migration.
static ONE_BY_ONE: LazyLock<String> = LazyLock::new(|| {
    let arrays: Vec<String> = (1..=COLUMNS.len()).map(|number| format!("${number}")).collect();
    format!("SELECT * FROM insert_activities_one_by_one({})", arrays.join(", "))
});

const DELETE_RETRIES: &str = "DELETE FROM retries WHERE id = ANY($1::uuid[])";

/// Writes to the log, so that the commit waits for the replication of everything before it.
pub(super) const WRITE_TO_LOG: &str = "SELECT pg_logical_emit_message(true, 'trailpad', '')";

/// Replacing content wins over content that does not replace; among replacing contents the newest
/// wins. So the result depends neither on the order nor on repetitions. A row that was just
/// inserted, or that already holds this content, is left unchanged.
static UPDATE: LazyLock<String> = LazyLock::new(|| {
    let content = COLUMNS.iter().filter(|(name, _)| !KEY_COLUMNS.contains(name));
    let assignments: Vec<String> =
        content.map(|(name, _)| format!("\"{name}\" = {}", value(name))).collect();
    format!(
        "UPDATE activities a SET {assignments} FROM {rows}
         WHERE a.webhook_id = r.webhook_id AND a.external_id = r.external_id
           AND r.content_id NOT IN (a.id, a.content_id)
           AND (NOT a.replaces OR (a.received_at, a.content_id) < (r.received_at, r.content_id))
           AND NOT EXISTS (SELECT FROM activities o WHERE o.id = r.content_id)",
        assignments = assignments.join(", "),
        rows = rows(),
    )
});

/// `unnest($1::uuid[], …) AS r("id", …)`
fn rows() -> String {
    let mut number = 0;
    let arrays = list(|_, sql_type| {
        number += 1;
        format!("${number}::{sql_type}[]")
    });
    format!("unnest({arrays}) AS r({})", list(|name, _| format!("\"{name}\"")))
}

/// `metadata` is bound as text and cast, because the sender's JSON is text.
fn value(name: &str) -> String {
    let cast = if name == "metadata" { "::jsonb" } else { "" };
    format!("r.\"{name}\"{cast}")
}

fn list(mut column: impl FnMut(&str, &str) -> String) -> String {
    COLUMNS.iter().map(|(name, sql_type)| column(name, sql_type)).collect::<Vec<_>>().join(", ")
}

/// Numbers of rows.
#[derive(Default)]
pub(super) struct Changed {
    pub stored: u64,
    pub replaced: u64,
}

/// Stores rows in one transaction, all or nothing, and deletes the retries of `settled`.
pub(super) async fn insert(
    client: &mut Object,
    rows: &[CoalescedRow<'_, '_>],
    settled: &[Uuid],
) -> Result<Changed, Error> {
    let columns = Columns::of(rows, |_| true);
    let replacing = Columns::of(rows, is_replacing);
    if replacing.id.is_empty() && settled.is_empty() {
        // A single statement is its own transaction.
        let stored = columns.execute(client, &INSERT).await?;
        if stored == 0 {
            client.query_typed(WRITE_TO_LOG, &[]).await?;
        }
        return Ok(Changed { stored, replaced: 0 });
    }
    let transaction = client.transaction().await?;
    let stored = columns.execute(transaction.client(), &INSERT).await?;
    let replaced = replacing.execute(transaction.client(), &UPDATE).await?;
    finish(transaction, settled).await?;
    Ok(Changed { stored, replaced })
}

/// The code and the constraint of an error that refused a row.
pub(super) struct Refusal {
    pub id: ActivityId,
    pub sqlstate: String,
    pub refused_by: Option<String>,
}

/// Stores the rows that the store accepts in one transaction, and returns the refused ones. Deletes
/// the retries of `settled`, but for refused activities.
pub(super) async fn insert_one_by_one(
    client: &mut Object,
    batch: &[NewActivity<'_>],
    settled: &[Uuid],
) -> Result<(Changed, Vec<Refusal>), Error> {
    let transaction = client.transaction().await?;
    let mut changed = Changed::default();
    let mut refused = run_one_by_one(&transaction, &coalesce(batch), &mut changed).await?;
    // A refused row may stand for several activities of its key. Each gets its own chance.
    let ids: Vec<ActivityId> = refused.iter().map(|refusal| refusal.id).collect();
    let others = coalesced_under(batch, &ids);
    refused.extend(run_one_by_one(&transaction, &others, &mut changed).await?);
    let is_refused = |id: &Uuid| refused.iter().any(|refusal| refusal.id.uuid() == *id);
    let settled: Vec<Uuid> = settled.iter().copied().filter(|id| !is_refused(id)).collect();
    finish(transaction, &settled).await?;
    Ok((changed, refused))
}

async fn run_one_by_one(
    transaction: &Transaction<'_>,
    rows: &[CoalescedRow<'_, '_>],
    changed: &mut Changed,
) -> Result<Vec<Refusal>, Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Columns::of(rows, |_| true);
    let outcomes = transaction.query_typed(&ONE_BY_ONE, &columns.parameters()).await?;
    let mut refused = Vec::new();
    for (row, outcome) in rows.iter().zip(&outcomes) {
        match outcome.get("outcome") {
            "stored" => changed.stored += 1,
            "replaced" => changed.replaced += 1,
            "refused" => refused.push(Refusal {
                id: row.content.id,
                sqlstate: outcome.get("code"),
                refused_by: outcome.get("refused_by"),
            }),
            _ => {}
        }
    }
    Ok(refused)
}

/// Deletes retries and commits. The commit waits for the replication of what it relies on, also if
/// nothing was changed.
async fn finish(transaction: Transaction<'_>, settled: &[Uuid]) -> Result<(), Error> {
    if !settled.is_empty() {
        let ids: &[(&(dyn ToSql + Sync), Type)] = &[(&settled, Type::UUID_ARRAY)];
        transaction.execute_typed(DELETE_RETRIES, ids).await?;
    }
    transaction.query_typed(WRITE_TO_LOG, &[]).await?;
    transaction.commit().await
}

/// `true` if the row may replace a stored one, which needs an `externalId`.
fn is_replacing(row: &CoalescedRow<'_, '_>) -> bool {
    row.content.activity.external_id.is_some() && replaces(row.content)
}

impl<'a> Columns<'a> {
    fn of(rows: &[CoalescedRow<'a, 'a>], wanted: fn(&CoalescedRow<'a, 'a>) -> bool) -> Self {
        let mut columns = Self::default();
        rows.iter().filter(|row| wanted(row)).for_each(|row| columns.push(row));
        columns
    }

    async fn execute(&self, client: &Client, statement: &str) -> Result<u64, Error> {
        client.execute_typed(statement, &self.parameters()).await
    }
}
