//! The ingress role: accepts activities from senders and publishes them to the queue.
//!
//! `handler.rs` lists the steps of a request in order. This crate depends on the domain and its
//! ports, and on no engine and no worker.

mod accepted;
mod admission;
mod authenticator;
mod body;
mod decompress;
mod group_commit;
mod handler;
mod headers;
mod live_registry;
mod metrics;
mod observation;
mod openapi;
mod registry;
mod rejection;
mod server;
mod settings;
mod tally;
mod ticket;
mod traffic;

pub use openapi::openapi;
pub use server::{GatewayParts, GatewayServer, StartError};
pub use settings::{RateLimit, Settings};
