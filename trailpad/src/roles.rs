//! The roles, each in a process of its own.

use std::time::Duration;

use prometheus::Registry;
use trailpad_common::runtime::lifecycle::{Lifecycle, LifecycleWatch, Phase, Readiness};
use trailpad_dashboard::DashboardServer;
use trailpad_gateway::GatewayServer;
use trailpad_worker::Worker;

use crate::config::{DashboardConfig, GatewayConfig, WorkerConfig};
use crate::error::Error;
use crate::otlp::{self, TraceConfig};
use crate::{ops, signals};

/// For handing back what is in hand, once the drain timeout has passed.
const REQUEUE_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs a gateway until it is told to stop.
pub async fn gateway(config: GatewayConfig, traces: Option<TraceConfig>) -> Result<(), Error> {
    let (lifecycle, registry) = (Lifecycle::default(), Registry::new());
    let (tracer, exporting) = otlp::start(traces, "gateway")?;
    let queue = config.engines.queue("gateway", &[])?;
    let directory = config.engines.directory()?;
    let drain_timeout = config.settings.drain_timeout;
    let server = GatewayServer::start(
        config.settings,
        &queue,
        directory,
        config.engines.traffic()?,
        &registry,
        lifecycle.watch(),
        tracer,
    )?;
    let readiness = Readiness::new(lifecycle.watch(), server.health());
    ops::start(config.ops_listen, registry, readiness)?;
    signals::follow(lifecycle, drain_timeout)?;
    if let Some(url) = config.public_url {
        tracing::info!(url = format!("{url}/webhooks/ingress/…"), "senders post to");
    }
    server.run().await?;
    exporting.flush().await;
    tracing::info!("the gateway has ended");
    Ok(())
}

/// Runs a worker until it is told to stop.
pub async fn worker(config: WorkerConfig, traces: Option<TraceConfig>) -> Result<(), Error> {
    let (lifecycle, registry) = (Lifecycle::default(), Registry::new());
    let (tracer, exporting) = otlp::start(traces, "worker")?;
    let queue = config.engines.queue("worker", config.settings.retry_schedule.delays())?;
    let store = config.engines.store(store_tasks(config.settings.concurrency))?;
    let drain_timeout = config.settings.drain_timeout;
    let traffic = config.engines.traffic()?;
    let worker =
        Worker::new(config.settings, queue, store, traffic, &registry, lifecycle.watch(), tracer)?;
    let readiness = Readiness::new(lifecycle.watch(), worker.health());
    ops::start(config.ops_listen, registry, readiness)?;
    let watch = lifecycle.watch();
    signals::follow(lifecycle, drain_timeout)?;
    run_worker(worker, &watch).await?;
    exporting.flush().await;
    tracing::info!("the worker has ended");
    Ok(())
}

/// What asks the store at a time: the concurrency, the archiver and the monitor.
pub fn store_tasks(concurrency: usize) -> usize {
    concurrency + 2
}

/// Runs a dashboard until it is told to stop.
pub async fn dashboard(config: DashboardConfig) -> Result<(), Error> {
    let (lifecycle, registry) = (Lifecycle::default(), Registry::new());
    let queue = config.engines.queue("dashboard", &[])?;
    let drain_timeout = config.settings.drain_timeout;
    let stores = config.engines.dashboard()?;
    let server = DashboardServer::start(config.settings, stores, queue, lifecycle.watch())?;
    // Pages are there while the broker is away; only test activities and replays are not.
    let readiness = Readiness::new(lifecycle.watch(), Vec::new());
    ops::start(config.ops_listen, registry, readiness)?;
    signals::follow(lifecycle, drain_timeout)?;
    tracing::info!(url = server.url(), "people open");
    server.run().await?;
    tracing::info!("the dashboard has ended");
    Ok(())
}

/// Runs a worker, at most until handing back takes too long.
pub async fn run_worker(worker: Worker, lifecycle: &LifecycleWatch) -> Result<(), Error> {
    tokio::select! {
        ended = worker.run() => ended?,
        () = requeue_takes_too_long(lifecycle) => {
            tracing::warn!("leaving with messages in hand: the queue gives them out again");
        }
    }
    Ok(())
}

/// A link that answers nothing must not keep the process past its deadline.
async fn requeue_takes_too_long(lifecycle: &LifecycleWatch) {
    lifecycle.reached(Phase::Stopping).await;
    tokio::time::sleep(REQUEUE_TIMEOUT).await;
}
