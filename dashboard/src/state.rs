//! State shared by all pages.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderName;
use tokio::sync::Semaphore;
use trailpad_common::admin::Administration;
use trailpad_common::queue::{Publisher, Queue};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch, LifecycleWatch};

use crate::error::PageError;
use crate::settings::Settings;
use crate::throttle::Throttle;

/// Concurrent streams of live rows.
const STREAMS_MAX: usize = 128;
/// Time limit for the queue's confirm while a person waits for it.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Dashboard {
    pub administration: Arc<dyn Administration>,
    queue: Arc<dyn Queue>,
    queue_health: HealthWatch,
    pub ingress_url: String,
    pub dashboard_url: String,
    pub client_address_header: Option<HeaderName>,
    pub throttle: Throttle,
    pub streams: Arc<Semaphore>,
    pub lifecycle: LifecycleWatch,
}

impl Dashboard {
    pub fn new(
        administration: Arc<dyn Administration>,
        queue: Arc<dyn Queue>,
        settings: &Settings,
        dashboard_url: &str,
        lifecycle: LifecycleWatch,
    ) -> Self {
        Self {
            administration,
            queue_health: queue.publish_health(),
            queue,
            ingress_url: settings.ingress_url.trim_end_matches('/').to_owned(),
            dashboard_url: dashboard_url.trim_end_matches('/').to_owned(),
            client_address_header: settings.client_address_header.clone(),
            throttle: Throttle::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            lifecycle,
        }
    }

    /// A new publisher for each test activity or replay, so that none waits for another.
    ///
    /// # Errors
    /// The queue is unavailable.
    pub fn publisher(&self) -> Result<Box<dyn Publisher>, PageError> {
        match &*self.queue_health.borrow() {
            Health::Up => Ok(self.queue.publisher()),
            Health::Down(why) => Err(PageError::Unavailable(format!("The queue is away: {why}"))),
        }
    }
}
