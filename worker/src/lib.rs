//! The worker role: takes activities from the queue and stores them.
//!
//! Receive → decode → resolve members → insert → record failures → acknowledge. [`Worker`] is the
//! entry point, and `storer.rs` implements the steps. Depends on the domain and its ports, never on
//! an engine or the gateway.

mod assign;
mod batch_processor;
mod bisect;
mod dead_letter_archiver;
mod decode;
mod metrics;
mod probe;
mod queue_monitor;
mod republish;
mod retrier;
mod retry_room;
mod session;
mod settings;
mod spans;
mod store_health;
mod storer;
#[cfg(test)]
mod testing;
mod traffic;
mod trial;
mod worker;

pub use probe::ProbedQueue;
pub use settings::Settings;
pub use worker::{Broken, Worker, WorkerOptions};
