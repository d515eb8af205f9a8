//! The stories: what the product promises, told by real processes on real servers.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

mod dashboard;
mod dead_letters;
mod embedded;
mod embedded_faults;
mod faults;
mod hostile;
mod ingress;
mod locks;
mod observability;
mod openapi;
mod outages;
mod pipeline;
mod registry;
mod secrets;
mod tls;
mod traces;
mod traffic;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// A small valid activity of this externalId.
fn activity(external_id: &str) -> String {
    format!(
        r#"{{"title":"Customer Inquiry Handled","startTime":"2024-08-03T11:30:00Z","externalId":"{external_id}"}}"#
    )
}
