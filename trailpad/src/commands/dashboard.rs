//! `trailpad dashboard`

use std::net::SocketAddr;

use clap::Args;
use prometheus::Registry;
use trailpad_common::check::StoreUser;
use trailpad_common::runtime::lifecycle::{Lifecycle, Readiness};
use trailpad_dashboard::DashboardServer;

use crate::args::{DrainArgs, OpsListen, PagesArgs, QueueArgs, StoreArgs, UrlArgs};
use crate::config::{EngineConfig, Faults};
use crate::engines::Engines;
use crate::error::Error;
use crate::store_check::StoreCheck;
use crate::{ops, signals};

#[derive(Args)]
#[command(mut_arg("ops_listen", |arg| arg.default_value("127.0.0.1:9083")))]
pub struct DashboardArgs {
    #[command(flatten)]
    pages: PagesArgs,
    #[command(flatten)]
    ops: OpsListen,
    #[command(flatten)]
    url: UrlArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    queue: QueueArgs,
    #[command(flatten)]
    drain: DrainArgs,
}

pub struct DashboardConfig {
    pub settings: trailpad_dashboard::Settings,
    pub ops_listen: SocketAddr,
    pub engines: EngineConfig,
}

impl DashboardArgs {
    pub fn config(&self) -> Result<DashboardConfig, Error> {
        let mut faults = Faults::default();
        let pages = faults.pages(&self.pages);
        let drain_timeout = faults.drain_timeout(&self.drain);
        let ops_listen = faults.ops_listen(&self.ops);
        let engines = faults.servers(&self.store, &self.queue, "dashboard");
        let settings = pages.settings(self.url.public_url.clone(), drain_timeout);
        faults.finish(engines.map(|engines| DashboardConfig { settings, ops_listen, engines }))
    }
}

pub async fn run(args: &DashboardArgs) -> Result<(), Error> {
    let DashboardConfig { settings, ops_listen, engines } = args.config()?;
    let lifecycle = Lifecycle::default();
    let registry = Registry::new();
    let engines = Engines::new(engines);
    let check = StoreCheck::begin(engines.store.clone(), StoreUser::Dashboard).await?;
    let queue = engines.queue.queue("dashboard", &[])?;
    let drain_timeout = settings.drain_timeout;
    let administration = engines.store.administration()?;
    let server = DashboardServer::start(settings, administration, queue, lifecycle.watch())?;
    // While the broker is unavailable, pages still work; only test activities and replays fail.
    let readiness = Readiness::new(lifecycle.watch(), vec![check.health()]);
    ops::start(ops_listen, registry, readiness)?;
    signals::follow(lifecycle, drain_timeout)?;
    tracing::info!(url = server.url(), "dashboard URL");
    check.run(async { Ok(server.run().await?) }).await?;
    tracing::info!("the dashboard has ended");
    Ok(())
}
