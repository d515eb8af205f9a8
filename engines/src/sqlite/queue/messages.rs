//! The statements of the queue. The writer runs them in its transaction, the reader only `depths`.

use std::time::Duration;

use rusqlite::{Connection, Result, Row, params};
use trailpad_common::queue::{Depths, Destination, MessageKind, Source};
use trailpad_common::timestamp::Timestamp;

/// Maximum number of messages that wait for a retry. A message that is refused because of it
/// becomes a dead letter immediately.
const RETRIES_MAX: i64 = 100_000;
/// Maximum size of the bodies that one claim returns, unless the first message is larger.
const CLAIM_BYTES_MAX: usize = 4 << 20;

/// A claimed message.
pub(super) struct Message {
    pub id: i64,
    pub kind: MessageKind,
    pub body: Vec<u8>,
    /// Earlier deliveries that were not settled.
    pub redeliveries: u32,
}

/// The result of a claim.
pub(super) struct Claimed {
    pub messages: Vec<Message>,
    /// When the next message is due, if `messages` is empty and one is waiting.
    pub next_due: Option<Timestamp>,
}

/// Settles claimed messages of a subscription.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settlement {
    /// Removes the message with this id.
    Ack(i64),
    /// Returns the message with this id to the queue, and does not count its delivery.
    Requeue(i64),
    /// Requeues all messages that the subscription with this number has claimed.
    RequeueAll(i64),
}

/// Requeues the messages that an ended process had claimed. Their deliveries stay counted, because
/// one of them may have ended the process.
pub(super) fn recover(connection: &Connection) -> Result<usize> {
    connection.execute("UPDATE messages SET taken_by = NULL WHERE taken_by IS NOT NULL", [])
}

/// Returns the size of all bodies in bytes.
pub(super) fn queued_bytes(connection: &Connection) -> Result<u64> {
    let sql = "SELECT coalesce(sum(length(body)), 0) FROM bodies";
    connection.query_row(sql, [], bytes)
}

/// Counts waiting messages, without claimed ones.
pub(super) fn depths(connection: &Connection, now: Timestamp) -> Result<Depths> {
    let sql = "SELECT count(*) FILTER (WHERE queue = ?1 AND due_at <= ?3) AS activities,
                      count(*) FILTER (WHERE queue = ?1 AND due_at > ?3) AS retry,
                      count(*) FILTER (WHERE queue = ?2) AS dead
               FROM messages WHERE taken_by IS NULL";
    let values = params![queue_of(Source::Activities), queue_of(Source::Dead), now.unix_micros()];
    connection.prepare_cached(sql)?.query_row(values, |row| {
        let count =
            |column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
        Ok(Depths {
            activities: count("activities")?,
            retry: count("retry")?,
            dead: count("dead")?,
        })
    })
}

/// `true` if fewer than [`RETRIES_MAX`] messages wait for a retry.
pub(super) fn accepts_retries(connection: &Connection, now: Timestamp) -> Result<bool> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM messages
               WHERE queue = ?1 AND taken_by IS NULL AND due_at > ?2 LIMIT ?3)";
    let values = params![queue_of(Source::Activities), now.unix_micros(), RETRIES_MAX];
    let waiting: i64 = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    Ok(waiting < RETRIES_MAX)
}

/// Adds a message, which becomes due immediately or after the delay of its destination.
pub(super) fn publish(
    connection: &Connection,
    to: Destination,
    kind: MessageKind,
    body: &[u8],
    now: Timestamp,
) -> Result<()> {
    let (source, due_at) = match to {
        Destination::Activities => (Source::Activities, 0),
        Destination::Retry(delay) => (Source::Activities, after(now, delay)),
        Destination::Dead => (Source::Dead, 0),
    };
    let sql = "INSERT INTO messages (queue, due_at, kind) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![queue_of(source), due_at, kind.as_str()])?;
    let id = connection.last_insert_rowid();
    let sql = "INSERT INTO bodies (id, body) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute(params![id, body])?;
    Ok(())
}

/// Claims up to `count` due messages for `subscription`: no other subscription gets them until they
/// are requeued.
pub(super) fn claim(
    connection: &Connection,
    source: Source,
    subscription: i64,
    count: usize,
    now: Timestamp,
) -> Result<Claimed> {
    let messages = due(connection, source, count, now)?;
    let sql = "UPDATE messages SET taken_by = ?1, deliveries = deliveries + 1 WHERE id = ?2";
    for message in &messages {
        connection.prepare_cached(sql)?.execute([subscription, message.id])?;
    }
    let next_due = if messages.is_empty() { next_due(connection, source, now)? } else { None };
    Ok(Claimed { messages, next_due })
}

fn due(
    connection: &Connection,
    source: Source,
    count: usize,
    now: Timestamp,
) -> Result<Vec<Message>> {
    let sql = "SELECT m.id, m.kind, m.deliveries, b.body
               FROM messages m JOIN bodies b ON b.id = m.id
               WHERE m.queue = ?1 AND m.taken_by IS NULL AND m.due_at <= ?2
               ORDER BY m.due_at DESC, m.id LIMIT ?3";
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![queue_of(source), now.unix_micros(), limit])?;
    let mut messages = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        bytes += row.get_ref("body")?.as_blob()?.len();
        if bytes > CLAIM_BYTES_MAX && !messages.is_empty() {
            break;
        }
        messages.push(message(row)?);
    }
    Ok(messages)
}

fn message(row: &Row<'_>) -> Result<Message> {
    Ok(Message {
        id: row.get("id")?,
        kind: MessageKind::from_name(row.get_ref("kind")?.as_str()?),
        redeliveries: row.get("deliveries")?,
        body: row.get("body")?,
    })
}

fn next_due(connection: &Connection, source: Source, now: Timestamp) -> Result<Option<Timestamp>> {
    let sql =
        "SELECT min(due_at) FROM messages WHERE queue = ?1 AND taken_by IS NULL AND due_at > ?2";
    let values = params![queue_of(source), now.unix_micros()];
    let due: Option<i64> = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    Ok(due.map(Timestamp::from_unix_micros))
}

/// Returns the size in bytes of the bodies that it removed.
pub(super) fn settle(connection: &Connection, settlement: Settlement) -> Result<u64> {
    let requeue = "UPDATE messages SET taken_by = NULL, deliveries = deliveries - 1";
    match settlement {
        Settlement::Ack(id) => return remove(connection, id),
        Settlement::Requeue(id) => {
            let sql = format!("{requeue} WHERE id = ?1 AND taken_by IS NOT NULL");
            connection.prepare_cached(&sql)?.execute([id])?;
        }
        Settlement::RequeueAll(subscription) => {
            let sql = format!("{requeue} WHERE taken_by = ?1");
            connection.prepare_cached(&sql)?.execute([subscription])?;
        }
    }
    Ok(0)
}

fn remove(connection: &Connection, id: i64) -> Result<u64> {
    connection.prepare_cached("DELETE FROM messages WHERE id = ?1")?.execute([id])?;
    let sql = "DELETE FROM bodies WHERE id = ?1 RETURNING length(body)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut removed = statement.query_map([id], bytes)?;
    removed.next().unwrap_or(Ok(0))
}

fn bytes(row: &Row<'_>) -> Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(0)?).unwrap_or(0))
}

fn queue_of(source: Source) -> i64 {
    match source {
        Source::Activities => 0,
        Source::Dead => 1,
    }
}

fn after(now: Timestamp, delay: Duration) -> i64 {
    now.unix_micros().saturating_add(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX))
}
