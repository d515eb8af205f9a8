//! The composition root of the roles: the only place that chooses engines.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use trailpad_common::lifecycle::{Lifecycle, LifecycleWatch, Phase, Readiness};
use trailpad_common::ports::Queue;
use trailpad_engines::postgres::{PostgresDirectory, PostgresStore};
use trailpad_engines::rabbitmq::RabbitQueue;
use trailpad_gateway::GatewayServer;
use trailpad_worker::Worker;

use crate::config::{Engines, GatewayConfig, WorkerConfig};
use crate::failure::Failure;
use crate::{ops, signals};

/// For handing back what is in hand, once the drain timeout has passed.
const HAND_BACK_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs a gateway until it is told to stop.
pub async fn gateway(config: GatewayConfig) -> Result<(), Failure> {
    let (lifecycle, registry) = (Lifecycle::default(), Registry::new());
    let Engines { database, amqp_url, queue } = config.engines;
    let queue: Arc<dyn Queue> =
        Arc::new(RabbitQueue::new(amqp_url.reveal(), &queue, "gateway", &[])?);
    let directory = Box::new(PostgresDirectory::new(database));
    let drain_timeout = config.settings.drain_timeout;
    let server =
        GatewayServer::start(config.settings, &queue, directory, &registry, lifecycle.watch())?;
    let readiness = Readiness::new(lifecycle.watch(), server.health());
    ops::start(config.ops_listen, registry, readiness)
        .map_err(|error| Failure::listen(config.ops_listen, &error))?;
    signals::follow(lifecycle, drain_timeout)?;
    if let Some(url) = config.public_url {
        tracing::info!(url = format!("{url}/webhooks/ingress/…"), "senders post to");
    }
    server.run().await?;
    tracing::info!("the gateway has ended");
    Ok(())
}

/// Runs a worker until it is told to stop.
pub async fn worker(config: WorkerConfig) -> Result<(), Failure> {
    let (lifecycle, registry) = (Lifecycle::default(), Registry::new());
    let Engines { database, amqp_url, queue } = config.engines;
    let delays = config.settings.retry_schedule.delays();
    let queue = Arc::new(RabbitQueue::new(amqp_url.reveal(), &queue, "worker", delays)?);
    // A connection for each lane, and one for the dead letters.
    let store = Arc::new(PostgresStore::new(&database, config.settings.lanes + 1));
    let drain_timeout = config.settings.drain_timeout;
    let worker = Worker::new(config.settings, queue, store, &registry, lifecycle.watch())?;
    let readiness = Readiness::new(lifecycle.watch(), worker.health());
    ops::start(config.ops_listen, registry, readiness)
        .map_err(|error| Failure::listen(config.ops_listen, &error))?;
    let watch = lifecycle.watch();
    signals::follow(lifecycle, drain_timeout)?;
    tokio::select! {
        ended = worker.run() => ended?,
        () = handing_back_takes_too_long(&watch) => {
            tracing::warn!("leaving with messages in hand: the broker gives them out again");
        }
    }
    tracing::info!("the worker has ended");
    Ok(())
}

/// A link that answers nothing must not keep the process past its deadline.
async fn handing_back_takes_too_long(lifecycle: &LifecycleWatch) {
    lifecycle.reached(Phase::Stopping).await;
    tokio::time::sleep(HAND_BACK_TIMEOUT).await;
}
