//! The statements that store a batch of activities: one array per column.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};
use trailpad_common::store::coalesce::{CoalescedRow, coalesce, replaces};
use trailpad_common::store::{Inserted, NewActivity};
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

static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO activities ({names}) SELECT {values} FROM {rows} ON CONFLICT DO NOTHING",
        names = list(|name, _| format!("\"{name}\"")),
        values = list(|name, _| value(name)),
        rows = rows(),
    )
});

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
           AND (NOT a.replaces OR (a.received_at, a.content_id) < (r.received_at, r.content_id))",
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

/// Stores a batch in one transaction.
pub(super) async fn insert(
    client: &mut Object,
    batch: &[NewActivity<'_>],
) -> Result<Inserted, Error> {
    let rows = coalesce(batch);
    let columns = Columns::of(&rows, |_| true);
    let replacing = Columns::of(&rows, is_replacing);
    let (stored, replaced) = if replacing.id.is_empty() {
        // A single statement is its own transaction.
        (columns.execute(client, &INSERT).await?, 0)
    } else {
        let transaction = client.transaction().await?;
        let stored = columns.execute(transaction.client(), &INSERT).await?;
        let replaced = replacing.execute(transaction.client(), &UPDATE).await?;
        transaction.commit().await?;
        (stored, replaced)
    };
    let duplicates = (batch.len() as u64).saturating_sub(stored + replaced);
    Ok(Inserted { stored, replaced, duplicates })
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
