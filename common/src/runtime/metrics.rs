//! The names of the metrics, in one place: roles register them, dashboards and alerts use them.

/// Activities answered 202.
pub const GATEWAY_ACCEPTED: &str = "trailpad_gateway_accepted_total";
/// Requests answered otherwise, by `reason` (the problem's type).
pub const GATEWAY_REJECTED: &str = "trailpad_gateway_rejected_total";
/// From the handing over of a message to its confirm.
pub const GATEWAY_CONFIRM_SECONDS: &str = "trailpad_gateway_confirm_seconds";
/// From the first byte of a request's head being read to its 202.
pub const GATEWAY_ACCEPT_SECONDS: &str = "trailpad_gateway_accept_seconds";
/// Activities in one message.
pub const GATEWAY_BATCH_ACTIVITIES: &str = "trailpad_gateway_batch_activities";
/// Requests in flight.
pub const GATEWAY_IN_FLIGHT: &str = "trailpad_gateway_in_flight_requests";
/// Bytes of bodies in flight.
pub const GATEWAY_IN_FLIGHT_BYTES: &str = "trailpad_gateway_in_flight_bytes";
/// Webhooks in the directory, revoked ones included.
pub const GATEWAY_REGISTRY_WEBHOOKS: &str = "trailpad_gateway_registry_webhooks";
/// Since the directory was last known to be current.
pub const GATEWAY_REGISTRY_AGE_SECONDS: &str = "trailpad_gateway_registry_age_seconds";

/// 1 where every part that the role needs is there.
pub const READY: &str = "trailpad_ready";
/// 1, with the version as a label.
pub const BUILD_INFO: &str = "trailpad_build_info";

/// Messages that wait, by `queue`: activities, retry, dead. Each worker says the same.
pub const QUEUE_MESSAGES: &str = "trailpad_queue_messages";
/// How long what a worker takes has waited.
pub const QUEUE_AGE_SECONDS: &str = "trailpad_queue_age_seconds";
/// Dead letters that wait for somebody, counted up to 10,000. Each worker says the same.
pub const DEAD_LETTERS_OPEN: &str = "trailpad_dead_letters_open";
/// Unix time of the last look at the three above.
pub const QUEUE_OBSERVED_TIMESTAMP_SECONDS: &str = "trailpad_queue_observed_timestamp_seconds";

/// Activities that became rows.
pub const WORKER_STORED: &str = "trailpad_worker_stored_total";
/// Activities that replaced the content of a row.
pub const WORKER_REPLACED: &str = "trailpad_worker_replaced_total";
/// Activities whose row was there already.
pub const WORKER_DUPLICATES: &str = "trailpad_worker_duplicates_total";
/// Activities sent to a retry queue, by `reason`.
pub const WORKER_RETRIED: &str = "trailpad_worker_retried_total";
/// Activities sent to the dead-letter queue, by `reason`.
pub const WORKER_DEAD_LETTERED: &str = "trailpad_worker_dead_lettered_total";
/// Dead letters moved from their queue into the store.
pub const WORKER_DEAD_LETTERS_ARCHIVED: &str = "trailpad_worker_dead_letters_archived_total";
/// Activities in one statement.
pub const WORKER_BATCH_ACTIVITIES: &str = "trailpad_worker_batch_activities";
/// One statement's time.
pub const WORKER_STORE_SECONDS: &str = "trailpad_worker_store_seconds";
/// From an activity's receipt by the gateway to its row.
pub const WORKER_RECEIPT_TO_ROW_SECONDS: &str = "trailpad_worker_receipt_to_row_seconds";
/// Activities in hand.
pub const WORKER_IN_HAND: &str = "trailpad_worker_in_hand_activities";
/// 1 while the worker holds because the store is away.
pub const WORKER_HOLDING: &str = "trailpad_worker_holding";
