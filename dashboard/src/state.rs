//! What the pages share.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderName;
use tokio::sync::Semaphore;
use trailpad_common::admin::{ActivityQueries, Admin, DeadLetterAdmin, SignIn};
use trailpad_common::queue::{Publisher, Queue};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch, LifecycleWatch};
use trailpad_common::timestamp::Timestamp;
use trailpad_common::traffic::TrafficLog;

use crate::error::PageError;
use crate::settings::Settings;
use crate::throttle::Throttle;

/// Pages that are kept up to date at a time.
const STREAMS_MAX: usize = 128;
/// How long a person waits for the queue to confirm.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// The store, by what is done with it.
#[derive(Clone)]
pub struct Stores {
    /// Workspaces, members, projects, webhooks.
    pub admin: Arc<dyn Admin>,
    /// Dead letters.
    pub dead_letters: Arc<dyn DeadLetterAdmin>,
    /// Invitations, passwords, sessions.
    pub sign_in: Arc<dyn SignIn>,
    /// Activities, traffic, refused requests.
    pub arrivals: Arc<dyn ActivityQueries>,
    /// Where test activities are counted.
    pub traffic: Arc<dyn TrafficLog>,
}

/// The dashboard.
pub struct Dashboard {
    pub stores: Stores,
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
        stores: Stores,
        queue: Arc<dyn Queue>,
        settings: &Settings,
        dashboard_url: &str,
        lifecycle: LifecycleWatch,
    ) -> Self {
        Self {
            stores,
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

    /// For a test activity or a replay: a publisher of its own, so that none waits for another.
    ///
    /// # Errors
    /// The queue is away.
    pub fn publisher(&self) -> Result<Box<dyn Publisher>, PageError> {
        match &*self.queue_health.borrow() {
            Health::Up => Ok(self.queue.publisher()),
            Health::Down(why) => Err(PageError::Away(format!("The queue is away: {why}"))),
        }
    }
}

/// The instant so many seconds from now, or ago.
pub fn seconds_from_now(seconds: i64) -> Timestamp {
    Timestamp::from_unix_micros(Timestamp::now().unix_micros().saturating_add(seconds * 1_000_000))
}
