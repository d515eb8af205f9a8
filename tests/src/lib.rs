//! The harness of the end-to-end tests: private servers, real processes, faults.
//!
//! The product runs as the real binary, one process for each role, on free ports. The harness waits
//! for events, with a deadline; nothing sleeps in place of an event. The one pause on purpose is in
//! [`http::deliver`], between the attempts of a sender.

#![allow(clippy::expect_used, clippy::missing_panics_doc)]

pub mod browser;
pub mod embedded;
pub mod http;
pub mod postgres;
pub mod process_guard;
pub mod prometheus;
pub mod proxy;
pub mod rabbitmq;
pub mod repository;
pub mod role;
pub mod sandbox;
pub mod servers;
pub mod wait;

pub use embedded::Embedded;
pub use http::{Answer, post};
pub use role::Role;
pub use sandbox::{Sandbox, Webhook};
pub use wait::wait_until;
