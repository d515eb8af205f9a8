//! The worker role: takes activities from the queue and stores them.
//!
//! Receive → decode → resolve members → insert → settle. [`Worker`] is the entry point;
//! `batch_processor.rs` implements the steps. Depends on the domain and its ports, never on an
//! engine or the gateway.

mod assign;
mod batch_processor;
mod bisect;
mod dead_letter_archiver;
mod decode;
mod metrics;
mod mode;
mod poison;
mod probe;
mod queue_monitor;
mod reroute;
mod session;
mod settings;
mod spans;
mod traffic;
mod worker;

pub use probe::ProbedQueue;
pub use settings::Settings;
pub use worker::{Broken, Worker, WorkerOptions};
