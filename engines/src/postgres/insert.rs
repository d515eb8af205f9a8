//! The statements that store a batch: arrays in, one row each.

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};
use trailpad_common::store::coalesce::{CoalescedRow, coalesce, replaces};
use trailpad_common::store::{Inserted, NewActivity};
use uuid::Uuid;

const INSERT: &str = r#"
INSERT INTO activities (id, content_id, replaces, webhook_id, project_id, member_id, external_id,
                        title, description, start_time, end_time, "trigger", event, metadata, received_at)
SELECT r.id, r.content_id, r.replaces, r.webhook_id, r.project_id, r.member_id, r.external_id,
       r.title, r.description, r.start_time, r.end_time, r."trigger", r.event, r.metadata::jsonb, r.received_at
FROM unnest($1::uuid[], $2::uuid[], $3::bool[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
            $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[],
            $14::text[], $15::timestamptz[])
     AS r(id, content_id, replaces, webhook_id, project_id, member_id, external_id,
          title, description, start_time, end_time, "trigger", event, metadata, received_at)
ON CONFLICT DO NOTHING
"#;

/// A content that replaces beats one that does not, and of those that replace the newest wins: so
/// the outcome is the same in any order, and again. What was just inserted, or is a repetition of
/// what is there, is left alone.
const UPDATE: &str = r#"
UPDATE activities a
SET content_id = r.content_id, replaces = true, project_id = r.project_id, member_id = r.member_id,
    title = r.title, description = r.description, start_time = r.start_time, end_time = r.end_time,
    "trigger" = r."trigger", event = r.event, metadata = r.metadata::jsonb, received_at = r.received_at
FROM unnest($1::uuid[], $2::uuid[], $3::bool[], $4::uuid[], $5::uuid[], $6::uuid[], $7::text[],
            $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[], $13::text[],
            $14::text[], $15::timestamptz[])
     AS r(id, content_id, replaces, webhook_id, project_id, member_id, external_id,
          title, description, start_time, end_time, "trigger", event, metadata, received_at)
WHERE a.webhook_id = r.webhook_id AND a.external_id = r.external_id
  AND r.content_id NOT IN (a.id, a.content_id)
  AND (NOT a.replaces OR (a.received_at, a.content_id) < (r.received_at, r.content_id))
"#;

/// Stores a batch in one transaction.
pub(super) async fn insert(
    client: &mut Object,
    batch: &[NewActivity<'_>],
) -> Result<Inserted, Error> {
    let rows = coalesce(batch);
    let columns = Columns::of(rows.iter());
    let replacing: Vec<&CoalescedRow<'_, '_>> =
        rows.iter().filter(|row| is_replacing(row)).collect();
    let (stored, replaced) = if replacing.is_empty() {
        // A single statement is a transaction by itself.
        (columns.execute(client, INSERT).await?, 0)
    } else {
        let columns_of_replacing = Columns::of(replacing.into_iter());
        let transaction = client.transaction().await?;
        let stored = columns.execute(transaction.client(), INSERT).await?;
        let replaced = columns_of_replacing.execute(transaction.client(), UPDATE).await?;
        transaction.commit().await?;
        (stored, replaced)
    };
    let duplicates = (batch.len() as u64).saturating_sub(stored + replaced);
    Ok(Inserted { stored, replaced, duplicates })
}

/// Only a row with a key can replace another.
fn is_replacing(row: &CoalescedRow<'_, '_>) -> bool {
    row.content.activity.external_id.is_some() && replaces(row.content)
}

/// A batch by columns, borrowing.
#[derive(Default)]
struct Columns<'a> {
    id: Vec<Uuid>,
    content_id: Vec<Uuid>,
    replaces: Vec<bool>,
    webhook_id: Vec<Uuid>,
    project_id: Vec<Uuid>,
    member_id: Vec<Uuid>,
    external_id: Vec<Option<&'a str>>,
    title: Vec<&'a str>,
    description: Vec<Option<&'a str>>,
    start_time: Vec<DateTime<Utc>>,
    end_time: Vec<Option<DateTime<Utc>>>,
    trigger: Vec<Option<&'a str>>,
    event: Vec<Option<&'a str>>,
    metadata: Vec<Option<&'a str>>,
    received_at: Vec<DateTime<Utc>>,
}

impl<'a> Columns<'a> {
    fn of<'r>(rows: impl Iterator<Item = &'r CoalescedRow<'a, 'a>>) -> Self
    where
        'a: 'r,
    {
        let mut columns = Self::default();
        for row in rows {
            let (new, activity) = (row.content, &row.content.activity);
            columns.id.push(row.id.uuid());
            columns.content_id.push(new.id.uuid());
            columns.replaces.push(replaces(new));
            columns.webhook_id.push(new.webhook_id.uuid());
            columns.project_id.push(new.project_id.uuid());
            columns.member_id.push(new.member_id.uuid());
            columns.external_id.push(activity.external_id.as_deref());
            columns.title.push(&activity.title);
            columns.description.push(activity.description.as_deref());
            columns.start_time.push(activity.start_time.to_datetime());
            columns.end_time.push(activity.end_time.map(|end| end.to_datetime()));
            columns.trigger.push(activity.trigger.as_deref());
            columns.event.push(activity.event.as_deref());
            columns.metadata.push(activity.metadata);
            columns.received_at.push(new.received_at.to_datetime());
        }
        columns
    }

    async fn execute(&self, client: &Client, statement: &str) -> Result<u64, Error> {
        let parameters: [(&(dyn ToSql + Sync), Type); 15] = [
            (&self.id, Type::UUID_ARRAY),
            (&self.content_id, Type::UUID_ARRAY),
            (&self.replaces, Type::BOOL_ARRAY),
            (&self.webhook_id, Type::UUID_ARRAY),
            (&self.project_id, Type::UUID_ARRAY),
            (&self.member_id, Type::UUID_ARRAY),
            (&self.external_id, Type::TEXT_ARRAY),
            (&self.title, Type::TEXT_ARRAY),
            (&self.description, Type::TEXT_ARRAY),
            (&self.start_time, Type::TIMESTAMPTZ_ARRAY),
            (&self.end_time, Type::TIMESTAMPTZ_ARRAY),
            (&self.trigger, Type::TEXT_ARRAY),
            (&self.event, Type::TEXT_ARRAY),
            (&self.metadata, Type::TEXT_ARRAY),
            (&self.received_at, Type::TIMESTAMPTZ_ARRAY),
        ];
        client.execute_typed(statement, &parameters).await
    }
}
