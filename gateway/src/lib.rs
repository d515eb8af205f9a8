//! The ingress role: takes activities from senders and hands them to the queue.
//!
//! A request goes authenticate → bound → parse → group commit → confirm → 202; `handler.rs`
//! reads in that order. Knows the domain and its ports, no engine and no worker.

mod admission;
mod authenticator;
mod body;
mod decompress;
mod group_commit;
mod handler;
mod headers;
mod metrics;
mod openapi;
mod registry;
mod rejection;
mod server;
mod settings;
mod ticket;
mod traffic;

pub use openapi::openapi;
pub use server::{GatewayServer, StartError};
pub use settings::{RateLimit, Settings};
