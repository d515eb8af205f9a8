//! End-to-end tests of the guarantees, with real processes on real servers.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

/// Runs each story as `story::on_files` and `story::on_servers`. A story is a function that takes a
/// `$product`, which has a constructor for each.
macro_rules! on_files_and_servers {
    ($product:ident: $($story:ident,)+) => {$(
        mod $story {
            #[tokio::test]
            async fn on_files() {
                super::$story(super::$product::on_files().await).await;
            }

            #[tokio::test]
            async fn on_servers() {
                super::$story(super::$product::on_servers().await).await;
            }
        }
    )+};
}

mod backup;
mod broker_faults;
mod dashboard;
mod dead_letters;
mod embedded;
mod embedded_faults;
mod faults;
mod files;
mod hostile;
mod ingress;
mod locks;
mod observability;
mod openapi;
mod outages;
mod pipeline;
mod postgres_faults;
mod registry;
mod secrets;
mod sick;
mod tls;
mod traces;
mod traffic;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// A small valid activity with this externalId.
fn activity(external_id: &str) -> String {
    format!(
        r#"{{"title":"Customer Inquiry Handled","startTime":"2024-08-03T11:30:00Z","externalId":"{external_id}"}}"#
    )
}
