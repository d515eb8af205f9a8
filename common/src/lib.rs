//! The domain of Trailpad ingest, and nothing that does I/O of its own.

pub mod activity;
pub mod email;
pub mod id;
pub mod instant;
pub mod json;
pub mod token;
