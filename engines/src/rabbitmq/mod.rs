//! The queue engine for RabbitMQ.
//!
//! Publishing and consuming use separate connections: during an alarm the broker stops reading from
//! a connection that publishes, and would then read no acknowledgements either. Looking at the
//! queues uses a third one. An error of one channel ends that channel and nothing else; its owner
//! opens another one.

mod backend;
mod death;
mod error;
mod feature_flag;
mod link;
mod publisher;
mod subscription;
mod topology;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::Connection;
use lapin::uri::AMQPUri;
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Depths, Destination, Publisher, Queue, Source, Subscription};
use trailpad_common::runtime::lifecycle::HealthWatch;

pub use backend::{BadUrl, RabbitBackend};
use error::{describe, is_not_found};
use link::{CALL_TIMEOUT, Link, Target};
use publisher::RabbitPublisher;
use subscription::RabbitSubscription;
use topology::Topology;

/// Connects when it is first used, and reconnects whenever a link is lost.
struct RabbitQueue {
    target: Target,
    publishing: OnceLock<Arc<Link>>,
    consuming: OnceLock<Arc<Link>>,
    observing: OnceLock<Arc<Link>>,
}

impl RabbitQueue {
    /// `role` names the connections; `retry_delays` are the delays of the retry queues to declare.
    fn new(uri: AMQPUri, name: &str, role: &str, retry_delays: &[Duration]) -> Self {
        let topology = Topology::new(name, retry_delays);
        let target = Target {
            uri,
            name: format!("trailpad {role}"),
            topology,
            feature_flag_is_enabled: Arc::default(),
        };
        Self {
            target,
            publishing: OnceLock::new(),
            consuming: OnceLock::new(),
            observing: OnceLock::new(),
        }
    }

    fn publishing(&self) -> &Arc<Link> {
        self.publishing.get_or_init(|| self.link("publish"))
    }

    fn consuming(&self) -> &Arc<Link> {
        self.consuming.get_or_init(|| self.link("consume"))
    }

    fn observing(&self) -> &Arc<Link> {
        self.observing.get_or_init(|| self.link("observe"))
    }

    /// Runs a call with its deadline. If the broker answers that a queue does not exist, declares
    /// the queues and runs the call again.
    async fn call<'c, T>(
        &self,
        connection: &Connection,
        call: impl Fn() -> BoxFuture<'c, lapin::Result<T>>,
    ) -> Result<T, Unavailable> {
        let called = async {
            match call().await {
                Err(error) if is_not_found(&error) => {
                    self.target.topology.declare_over(connection).await?;
                    call().await
                }
                called => called,
            }
        };
        match tokio::time::timeout(CALL_TIMEOUT, called).await {
            Ok(called) => called.map_err(|error| Unavailable(describe(&error))),
            Err(_) => Err(Unavailable("the broker did not answer in time".into())),
        }
    }

    fn link(&self, purpose: &str) -> Arc<Link> {
        let name = format!("{} {purpose}", self.target.name);
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
        let connection = self.consuming().for_consuming()?;
        let open = || RabbitSubscription::open(&connection, &queue, prefetch).boxed();
        Ok(Box::new(self.call(&connection, open).await?))
    }

    async fn depths(&self) -> Result<Depths, Unavailable> {
        let connection = self.observing().connected().await?;
        self.call(&connection, || self.target.topology.depths(&connection).boxed()).await
    }

    async fn consumers(&self) -> Result<u32, Unavailable> {
        let connection = self.observing().connected().await?;
        let topology = &self.target.topology;
        let count = || topology.consumers(&connection, Destination::Activities).boxed();
        self.call(&connection, count).await
    }
}
