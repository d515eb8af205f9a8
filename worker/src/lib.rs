//! The worker role: takes activities from the queue and stores them.
//!
//! Receive → decode → resolve members → insert → settle; [`Worker`] begins, `lane.rs` is the story.
//! Knows the domain and its ports, no engine and no gateway.

mod assign;
mod decode;
mod lane;
mod lookout;
mod metrics;
mod narrow;
mod outbox;
mod session;
mod settings;
mod spans;
mod suspects;
mod traffic;
mod undertaker;
mod worker;

pub use settings::Settings;
pub use worker::{Broken, Worker};
