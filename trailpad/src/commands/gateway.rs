//! `trailpad gateway`

use std::net::SocketAddr;

use clap::Args;
use prometheus::Registry;
use trailpad_common::check::StoreUser;
use trailpad_common::runtime::lifecycle::{Lifecycle, Readiness};
use trailpad_common::webhook::ingress_url;
use trailpad_gateway::{GatewayParts, GatewayServer};

use crate::args::{DrainArgs, GatewayBounds, OpsListen, QueueArgs, StoreArgs};
use crate::config::{EngineConfig, Faults};
use crate::engines::Engines;
use crate::error::Error;
use crate::otlp::{self, TraceConfig};
use crate::store_check::StoreCheck;
use crate::{ops, signals};

#[derive(Args)]
pub struct GatewayArgs {
    /// The address senders post to; port 0 picks a free port, which is logged
    #[arg(long, env = "TRAILPAD_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: String,
    #[command(flatten)]
    ops: OpsListen,
    /// The URL under which senders reach this gateway, logged at startup
    #[arg(long, env = "TRAILPAD_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    queue: QueueArgs,
    #[command(flatten)]
    bounds: GatewayBounds,
    #[command(flatten)]
    drain: DrainArgs,
}

pub struct GatewayConfig {
    pub settings: trailpad_gateway::Settings,
    pub ops_listen: SocketAddr,
    pub engines: EngineConfig,
}

impl GatewayArgs {
    pub fn config(&self) -> Result<GatewayConfig, Error> {
        let mut faults = Faults::default();
        let settings = faults.gateway_settings(&self.listen, &self.bounds, &self.drain);
        let ops_listen = faults.ops_listen(&self.ops);
        let engines = faults.servers(&self.store, &self.queue, "gateway");
        faults.finish(engines.map(|engines| GatewayConfig { settings, ops_listen, engines }))
    }
}

pub async fn run(args: &GatewayArgs, traces: Option<TraceConfig>) -> Result<(), Error> {
    let GatewayConfig { settings, ops_listen, engines } = args.config()?;
    let lifecycle = Lifecycle::default();
    let registry = Registry::new();
    let (tracer, exporter) = otlp::start(traces, "gateway")?;
    let engines = Engines::new(engines);
    let check = StoreCheck::begin(engines.store.clone(), StoreUser::Gateway).await?;
    let queue = engines.queue.queue("gateway", &[])?;
    let drain_timeout = settings.drain_timeout;
    let server = GatewayServer::start(GatewayParts {
        settings,
        queue: &*queue,
        webhook_feed: engines.store.webhook_feed()?,
        traffic_log: engines.store.administration()?,
        metrics_registry: &registry,
        lifecycle: lifecycle.watch(),
        tracer,
    })?;
    let parts = server.health().into_iter().chain([check.health()]).collect();
    let readiness = Readiness::new(lifecycle.watch(), parts);
    ops::start(ops_listen, registry, readiness)?;
    signals::follow(lifecycle, drain_timeout)?;
    if let Some(url) = &args.public_url {
        tracing::info!(url = ingress_url(url, "…"), "ingress URL");
    }
    check.run(async { Ok(server.run().await?) }).await?;
    exporter.flush().await;
    tracing::info!("the gateway has ended");
    Ok(())
}
