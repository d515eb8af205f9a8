//! The domain of Trailpad ingest: words, rules and ports.
//!
//! This crate does no I/O of its own and names no engine: no actix, no lapin, no PostgreSQL, no
//! SQLite. Every other crate points to it.

pub mod activity;
pub mod admin;
pub mod backoff;
pub mod dead_letter;
pub mod email;
pub mod envelope;
pub mod failure;
pub mod fold;
pub mod id;
pub mod instant;
pub mod json;
pub mod lifecycle;
pub mod metrics;
pub mod ports;
pub mod repair;
pub mod retry;
pub mod secret;
pub mod token;
pub mod trace;
pub mod traffic;
