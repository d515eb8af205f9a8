//! `trailpad worker`

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use prometheus::Registry;
use trailpad_common::check::StoreUser;
use trailpad_common::runtime::lifecycle::{Lifecycle, LifecycleWatch, Phase, Readiness};
use trailpad_worker::{ProbedQueue, Worker, WorkerOptions};

use crate::args::{DrainArgs, OpsListen, QueueArgs, StoreArgs, WorkerBounds};
use crate::config::{EngineConfig, Faults};
use crate::engines::Engines;
use crate::error::Error;
use crate::otlp::{self, TraceConfig};
use crate::store_check::StoreCheck;
use crate::{ops, signals};

/// Time to requeue unfinished messages after the drain timeout.
const REQUEUE_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Args)]
#[command(mut_arg("ops_listen", |arg| arg.default_value("127.0.0.1:9082")))]
pub struct WorkerArgs {
    #[command(flatten)]
    ops: OpsListen,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    queue: QueueArgs,
    #[command(flatten)]
    bounds: WorkerBounds,
    #[command(flatten)]
    drain: DrainArgs,
}

pub struct WorkerConfig {
    pub settings: trailpad_worker::Settings,
    pub ops_listen: SocketAddr,
    pub engines: EngineConfig,
}

impl WorkerArgs {
    pub fn config(&self) -> Result<WorkerConfig, Error> {
        let mut faults = Faults::default();
        let settings = faults.worker_settings(&self.bounds, &self.drain);
        let ops_listen = faults.ops_listen(&self.ops);
        let engines = faults.servers(&self.store, &self.queue, "worker");
        faults.finish(engines.map(|engines| WorkerConfig { settings, ops_listen, engines }))
    }
}

pub async fn run(args: &WorkerArgs, traces: Option<TraceConfig>) -> Result<(), Error> {
    let WorkerConfig { settings, ops_listen, engines } = args.config()?;
    let lifecycle = Lifecycle::default();
    let registry = Registry::new();
    let (tracer, exporter) = otlp::start(traces, "worker")?;
    let engines = Engines::new(engines);
    let check = StoreCheck::begin(engines.store.clone(), StoreUser::Worker).await?;
    let queue = engines.queue.queue("worker", settings.retry_schedule.delays())?;
    let queue = ProbedQueue::start(queue, &registry, lifecycle.watch())?;
    let store = engines.store.store(store_tasks(settings.concurrency))?;
    let drain_timeout = settings.drain_timeout;
    let options = WorkerOptions {
        settings,
        queue,
        store,
        traffic: engines.store.administration()?,
        lifecycle: lifecycle.watch(),
        tracer,
    };
    let worker = Worker::new(options, &registry)?;
    let parts = worker.health().into_iter().chain([check.health()]).collect();
    let readiness = Readiness::new(lifecycle.watch(), parts);
    ops::start(ops_listen, registry, readiness)?;
    let watch = lifecycle.watch();
    signals::follow(lifecycle, drain_timeout)?;
    check.run(run_until_requeued(worker, &watch)).await?;
    exporter.flush().await;
    tracing::info!("the worker has ended");
    Ok(())
}

/// Tasks that use the store at the same time: the batches, the retrier, the probe, the dead-letter
/// archiver and the queue monitor.
pub fn store_tasks(concurrency: usize) -> usize {
    concurrency + 4
}

/// Runs a worker. Once the drain timeout has passed, it returns after `REQUEUE_TIMEOUT` even if
/// requeuing has not finished.
pub async fn run_until_requeued(worker: Worker, lifecycle: &LifecycleWatch) -> Result<(), Error> {
    tokio::select! {
        ended = worker.run() => ended?,
        () = requeue_timeout(lifecycle) => {
            tracing::warn!("exiting with unacknowledged messages: the queue redelivers them");
        }
    }
    Ok(())
}

/// A connection that does not respond must not keep the process past its deadline.
async fn requeue_timeout(lifecycle: &LifecycleWatch) {
    lifecycle.reached(Phase::Stopping).await;
    tokio::time::sleep(REQUEUE_TIMEOUT).await;
}
