//! The header `x-death`: the reasons for which the broker dead-lettered a message, the last first.
//!
//! <https://www.rabbitmq.com/docs/dlx#effects> lists the fields and the four reasons.

use lapin::types::{AMQPValue, FieldTable};
use trailpad_common::failure::{Cause, Reason};

/// Returns the cause of the last time that the broker dead-lettered the message; `None` if it never
/// did.
pub(super) fn last_cause(headers: &FieldTable) -> Option<Cause> {
    let deaths = match headers.inner().get("x-death")? {
        AMQPValue::FieldArray(deaths) => deaths.as_slice(),
        _ => &[],
    };
    let last = match deaths.first() {
        Some(AMQPValue::FieldTable(last)) => Some(last),
        _ => None,
    };
    let field = |name: &str| last.and_then(|last| text(last, name)).unwrap_or_default();
    Some(cause(&field("reason"), &field("queue")))
}

fn cause(reason: &str, queue: &str) -> Cause {
    let (reason, error) = match reason {
        "delivery_limit" => (
            Reason::DeliveryLimit,
            format!("the message was delivered too often (x-delivery-limit of queue {queue})"),
        ),
        "expired" => (
            Reason::ExpiredInQueue,
            format!("the message expired in queue {queue} (message-ttl) before it was stored"),
        ),
        "maxlen" => (
            Reason::QueueOverflow,
            format!("queue {queue} was over its limit (max-length) and dropped the message"),
        ),
        "rejected" => (
            Reason::DeadLetteredByBroker,
            format!("a consumer of queue {queue} that is not a worker rejected the message"),
        ),
        unknown => (
            Reason::DeadLetteredByBroker,
            format!("the broker dead-lettered the message from queue {queue}: {unknown:?}"),
        ),
    };
    Cause { reason, error }
}

fn text(table: &FieldTable, name: &str) -> Option<String> {
    match table.inner().get(name)? {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::{FieldArray, LongString};

    use super::*;

    fn death(reason: &str, queue: &str) -> AMQPValue {
        let mut table = FieldTable::default();
        for (name, value) in [("reason", reason), ("queue", queue)] {
            table.insert(name.into(), AMQPValue::LongString(LongString::from(value)));
        }
        AMQPValue::FieldTable(table)
    }

    fn headers(deaths: Vec<AMQPValue>) -> FieldTable {
        let mut headers = FieldTable::default();
        headers.insert("x-death".into(), AMQPValue::FieldArray(FieldArray::from(deaths)));
        headers
    }

    #[test]
    fn each_reason_of_the_broker_has_a_stable_reason_and_names_the_queue() {
        for (broker, expected) in [
            ("delivery_limit", Reason::DeliveryLimit),
            ("expired", Reason::ExpiredInQueue),
            ("maxlen", Reason::QueueOverflow),
            ("rejected", Reason::DeadLetteredByBroker),
            ("invented later", Reason::DeadLetteredByBroker),
        ] {
            let cause = last_cause(&headers(vec![death(broker, "q")])).expect(broker);
            assert_eq!(cause.reason, expected, "{broker}");
            assert!(cause.error.contains("queue q"), "{}", cause.error);
        }
    }

    #[test]
    fn the_last_time_counts_and_not_the_waits_in_retry_queues_before_it() {
        let deaths = vec![death("delivery_limit", "q"), death("expired", "q.retry.10s")];
        let cause = last_cause(&headers(deaths)).expect("the header should have a cause");
        assert_eq!(cause.reason, Reason::DeliveryLimit);
    }

    #[test]
    fn a_message_without_the_header_was_never_dead_lettered() {
        assert_eq!(last_cause(&FieldTable::default()), None);
        let empty = last_cause(&headers(Vec::new())).expect("the header should have a cause");
        assert_eq!(empty.reason, Reason::DeadLetteredByBroker);
    }
}
