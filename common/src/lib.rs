//! The domain of Trailpad ingest: rules, formats and ports, shared by every other crate.
//!
//! - [`activity`]: the fields of a payload, their rules and the parser; [`json`] is its JSON reader
//! - [`admin`]: the ports behind the command line and the dashboard, and the replay of dead letters
//! - [`check`]: the check of a store at the start of a process
//! - [`queue`]: the queue's port, and the formats of envelopes and dead letters
//! - [`store`]: the store's port, and the coalescing of a batch into rows
//! - [`webhook`]: tokens, and the feed of changes to the webhook registry
//! - [`failure`]: failures of an activity after its 202, their settlement, the retry schedule
//! - [`runtime`]: lifecycle, readiness, backoff, traces and the metrics' names
//! - [`traffic`]: per-webhook counters and the log of rejected requests
//!
//! Invariant: this crate opens no file and no connection. It does not depend on actix, lapin,
//! PostgreSQL or SQLite. All other crates depend on it.

pub mod activity;
pub mod admin;
pub mod check;
pub mod email;
pub mod failure;
pub mod id;
pub mod json;
pub mod names;
pub mod queue;
pub mod runtime;
pub mod secret;
pub mod store;
pub mod timestamp;
pub mod traffic;
pub mod webhook;
