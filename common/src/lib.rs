//! The domain of Trailpad ingest: words, rules and ports.
//!
//! This crate does no I/O of its own and names no engine: no actix, no lapin, no PostgreSQL, no
//! SQLite. Every other crate points to it.

pub mod activity;
pub mod admin;
pub mod email;
pub mod failure;
pub mod id;
pub mod json;
pub mod queue;
pub mod runtime;
pub mod secret;
pub mod store;
pub mod timestamp;
pub mod traffic;
pub mod webhook;
