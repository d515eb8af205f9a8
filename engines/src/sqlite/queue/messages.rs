//! The statements of the queue; each runs within the writer's transaction.

use std::time::Duration;

use rusqlite::{Connection, Result, Row, params};
use trailpad_common::queue::{Depths, Destination, MessageKind, Source};
use trailpad_common::timestamp::Timestamp;

/// Activities that may wait for their retry; past it one is refused, and dead at once.
const RETRIES_MAX: i64 = 100_000;
/// Memory that one take may fill, unless a single message is larger.
const TAKE_BYTES_MAX: usize = 4 << 20;

/// A message that was taken.
pub(super) struct Message {
    pub id: i64,
    pub kind: MessageKind,
    pub body: Vec<u8>,
    pub redeliveries: u32,
}

/// What a take gave.
pub(super) struct Taken {
    pub messages: Vec<Message>,
    /// When the next retry is due, if nothing else is waiting.
    pub next_due: Option<Timestamp>,
}

/// What a subscription says of what it took.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settlement {
    /// Remove the message.
    Ack(i64),
    /// Give it back; it did nobody any harm.
    Requeue(i64),
    /// Give back everything that this subscription has.
    RequeueAll(i64),
}

/// What a process that ended had in hand comes again, and its delivery is counted.
pub(super) fn recover(connection: &Connection) -> Result<usize> {
    connection.execute("UPDATE messages SET taken_by = NULL WHERE taken_by IS NOT NULL", [])
}

/// The bytes of all bodies.
pub(super) fn queued_bytes(connection: &Connection) -> Result<u64> {
    let sql = "SELECT coalesce(sum(length(body)), 0) FROM bodies";
    connection.query_row(sql, [], bytes)
}

/// How many messages wait.
pub(super) fn depths(connection: &Connection, now: Timestamp) -> Result<Depths> {
    let sql = "SELECT count(*) FILTER (WHERE queue = ?1 AND due_at <= ?3),
                      count(*) FILTER (WHERE queue = ?1 AND due_at > ?3),
                      count(*) FILTER (WHERE queue = ?2)
               FROM messages WHERE taken_by IS NULL";
    let (activities, dead) = (queue_of(Source::Activities), queue_of(Source::Dead));
    let values = params![activities, dead, now.unix_micros()];
    let count = |row: &Row<'_>, at| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
    connection.prepare_cached(sql)?.query_row(values, |row| {
        Ok(Depths { activities: count(row, 0)?, retry: count(row, 1)?, dead: count(row, 2)? })
    })
}

/// Whether a retry queue has room for one more.
pub(super) fn has_room_for_retry(connection: &Connection, now: Timestamp) -> Result<bool> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM messages
               WHERE queue = ?1 AND taken_by IS NULL AND due_at > ?2 LIMIT ?3)";
    let values = params![queue_of(Source::Activities), now.unix_micros(), RETRIES_MAX];
    let waiting: i64 = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    Ok(waiting < RETRIES_MAX)
}

/// Adds a message.
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

/// Takes up to `count` messages that are due, for `subscription`.
pub(super) fn take(
    connection: &Connection,
    source: Source,
    subscription: i64,
    count: usize,
    now: Timestamp,
) -> Result<Taken> {
    let messages = due(connection, source, count, now)?;
    let sql = "UPDATE messages SET taken_by = ?1, deliveries = deliveries + 1 WHERE id = ?2";
    for message in &messages {
        connection.prepare_cached(sql)?.execute([subscription, message.id])?;
    }
    let next_due = if messages.is_empty() { next_due(connection, source, now)? } else { None };
    Ok(Taken { messages, next_due })
}

fn due(
    connection: &Connection,
    source: Source,
    count: usize,
    now: Timestamp,
) -> Result<Vec<Message>> {
    let sql =
        "SELECT m.id, m.kind, m.deliveries, b.body FROM messages m JOIN bodies b ON b.id = m.id
               WHERE m.queue = ?1 AND m.taken_by IS NULL AND m.due_at <= ?2
               ORDER BY m.due_at DESC, m.id LIMIT ?3";
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![queue_of(source), now.unix_micros(), limit])?;
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        bytes += row.get_ref(3)?.as_blob()?.len();
        if bytes > TAKE_BYTES_MAX && !messages.is_empty() {
            break;
        }
        messages.push(message(row)?);
    }
    Ok(messages)
}

fn message(row: &Row<'_>) -> Result<Message> {
    Ok(Message {
        id: row.get(0)?,
        kind: MessageKind::named(row.get_ref(1)?.as_str()?),
        redeliveries: row.get(2)?,
        body: row.get(3)?,
    })
}

fn next_due(connection: &Connection, source: Source, now: Timestamp) -> Result<Option<Timestamp>> {
    let sql =
        "SELECT min(due_at) FROM messages WHERE queue = ?1 AND taken_by IS NULL AND due_at > ?2";
    let values = params![queue_of(source), now.unix_micros()];
    let due: Option<i64> = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    Ok(due.map(Timestamp::from_unix_micros))
}

/// Settles; gives the bytes that left the queue.
pub(super) fn settle(connection: &Connection, settlement: Settlement) -> Result<u64> {
    let give_back = "UPDATE messages SET taken_by = NULL, deliveries = deliveries - 1";
    match settlement {
        Settlement::Ack(id) => return remove(connection, id),
        Settlement::Requeue(id) => {
            let sql = format!("{give_back} WHERE id = ?1 AND taken_by IS NOT NULL");
            connection.prepare_cached(&sql)?.execute([id])?;
        }
        Settlement::RequeueAll(subscription) => {
            let sql = format!("{give_back} WHERE taken_by = ?1");
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
