//! RabbitMQ: the queue.
//!
//! Publishing and consuming use separate connections, because an alarm stops all writes of a
//! publishing connection, acknowledgements included.

mod error;
mod link;
mod publisher;
mod subscription;
mod topology;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use lapin::uri::AMQPUri;
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Depths, Destination, Publisher, Queue, Source, Subscription};
use trailpad_common::runtime::lifecycle::HealthWatch;

use error::explain;
use link::{CALL_TIMEOUT, Link, Target};
use publisher::RabbitPublisher;
use subscription::RabbitSubscription;
use topology::Topology;

/// The queue on RabbitMQ. Connects when it is first used, and again whenever a link is lost.
pub struct RabbitQueue {
    target: Target,
    publishing: OnceLock<Arc<Link>>,
    consuming: OnceLock<Arc<Link>>,
}

/// The text is no AMQP URL. Does not quote it, because it holds a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an AMQP URL: write amqp://user:password@host:5672/vhost, or amqps:// for TLS")]
pub struct BadUrl;

impl RabbitQueue {
    /// The queue `name` and those named after it, on the broker at `url`. `role` names the
    /// connections; `retry_delays` are those this role publishes to.
    ///
    /// # Errors
    /// The URL is none. Whether the broker is there shows later, in the health.
    pub fn new(
        url: &str,
        name: &str,
        role: &str,
        retry_delays: &[Duration],
    ) -> Result<Self, BadUrl> {
        let uri: AMQPUri = url.parse().map_err(|_| BadUrl)?;
        let topology = Topology::new(name, retry_delays);
        let target = Target { uri, name: format!("trailpad {role}"), topology };
        Ok(Self { target, publishing: OnceLock::new(), consuming: OnceLock::new() })
    }

    fn publishing(&self) -> &Arc<Link> {
        self.publishing.get_or_init(|| self.link("publish"))
    }

    fn consuming(&self) -> &Arc<Link> {
        self.consuming.get_or_init(|| self.link("consume"))
    }

    fn link(&self, what: &str) -> Arc<Link> {
        let name = format!("{} {what}", self.target.name);
        Arc::new(Link::start(Target { name, ..self.target.clone() }))
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    fn publisher(&self) -> Box<dyn Publisher> {
        let topology = self.target.topology.clone();
        Box::new(RabbitPublisher::new(self.publishing().clone(), topology))
    }

    fn publish_health(&self) -> HealthWatch {
        self.publishing().health()
    }

    fn consume_health(&self) -> HealthWatch {
        self.consuming().health()
    }

    async fn subscribe(
        &self,
        source: Source,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Unavailable> {
        let queue = self.target.topology.queue(match source {
            Source::Activities => Destination::Activities,
            Source::Dead => Destination::Dead,
        });
        Ok(Box::new(RabbitSubscription::open(self.consuming(), &queue, prefetch).await?))
    }

    async fn depths(&self) -> Result<Depths, Unavailable> {
        let connection = self.consuming().for_consuming()?;
        let depths = self.target.topology.depths(&connection);
        match tokio::time::timeout(CALL_TIMEOUT, depths).await {
            Ok(depths) => depths.map_err(|error| Unavailable(explain(&error))),
            Err(_) => Err(Unavailable("the broker does not answer".into())),
        }
    }
}
