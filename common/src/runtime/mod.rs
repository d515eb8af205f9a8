//! Infrastructure that all roles share: lifecycle, backoff, traces and metrics.

pub mod backoff;
pub mod lifecycle;
pub mod metrics;
pub mod trace;
