//! The worker role: takes activities from the queue and stores them.
//!
//! Receive → decode → resolve members → insert → settle; [`Worker`] begins, `lane.rs` is the story.
//! Knows the domain and its ports, no engine and no gateway.

mod assign;
mod batch_processor;
mod bisect;
mod dead_letter_archiver;
mod decode;
mod metrics;
mod poison;
mod queue_monitor;
mod reroute;
mod session;
mod settings;
mod spans;
mod traffic;
mod worker;

pub use settings::Settings;
pub use worker::{Broken, Worker};
