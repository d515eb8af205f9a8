//! `trailpad serve`: every role in one process.

mod file_metrics;
mod first_webhook;

use std::io::IsTerminal;
use std::net::SocketAddr;

use clap::Args;
use prometheus::Registry;
use trailpad_common::admin::{Administration, one_time_link};
use trailpad_common::check::StoreUser;
use trailpad_common::email::Email;
use trailpad_common::runtime::lifecycle::{Lifecycle, Readiness};
use trailpad_common::webhook::ingress_url;
use trailpad_dashboard::DashboardServer;
use trailpad_engines::sqlite::DataDir;
use trailpad_gateway::{GatewayParts, GatewayServer};
use trailpad_worker::{ProbedQueue, Worker, WorkerOptions};

use super::worker::{run_until_requeued, store_tasks};
use crate::args::{
    DrainArgs, GatewayBounds, OpsListen, PagesArgs, QueueArgs, StoreArgs, WorkerBounds,
};
use crate::config::{EngineConfig, Faults, PagesConfig, QueueConfig, StoreConfig};
use crate::engines::Engines;
use crate::error::Error;
use crate::otlp::{self, TraceConfig};
use crate::welcome::{Secrets, Welcome};
use crate::{ops, signals};

/// The file for the first webhook's URL if standard output is not a terminal.
const URL_FILE: &str = "first-webhook-url";
/// The file for the owner's sign-in link.
const LINK_FILE: &str = "first-sign-in-url";

#[derive(Args)]
pub struct ServeArgs {
    /// The address senders post to; port 0 picks a free port
    #[arg(long, env = "TRAILPAD_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    listen: String,
    #[command(flatten)]
    ops: OpsListen,
    /// The URL under which senders reach this gateway [default: the address it listens on]
    #[arg(long, env = "TRAILPAD_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// The owner of the workspace that the first start creates
    #[arg(long, env = "TRAILPAD_OWNER", default_value = "owner@example.com", value_name = "EMAIL")]
    owner: String,
    #[command(flatten)]
    pages: PagesArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Disk space kept free to store accepted activities; below it the response is 503
    #[arg(
        long,
        env = "TRAILPAD_FREE_BYTES_MIN",
        default_value = "67108864",
        value_name = "BYTES",
        help_heading = "Bounds"
    )]
    free_bytes_min: String,
    #[command(flatten)]
    queue: QueueArgs,
    #[command(flatten)]
    gateway: GatewayBounds,
    #[command(flatten)]
    worker: WorkerBounds,
    #[command(flatten)]
    drain: DrainArgs,
}

pub struct ServeConfig {
    pub pages: PagesConfig,
    pub gateway: trailpad_gateway::Settings,
    pub worker: trailpad_worker::Settings,
    pub ops_listen: SocketAddr,
    pub owner: Email,
    pub engines: EngineConfig,
}

impl ServeArgs {
    pub fn config(&self) -> Result<ServeConfig, Error> {
        let mut faults = Faults::default();
        let gateway = faults.gateway_settings(&self.listen, &self.gateway, &self.drain);
        let worker = faults.worker_settings(&self.worker, &self.drain);
        let ops_listen = faults.ops_listen(&self.ops);
        let pages = faults.pages(&self.pages);
        let owner = Email::parse(&self.owner)
            .map_err(|error| faults.add("owner", format!("is {error}: {:?}", self.owner)));
        let engines = faults.engines(&self.store, &self.queue, &self.free_bytes_min);
        faults.finish(engines.zip(owner.ok()).map(|(engines, owner)| ServeConfig {
            pages,
            gateway,
            worker,
            ops_listen,
            owner,
            engines,
        }))
    }
}

pub async fn run(args: &ServeArgs, traces: Option<TraceConfig>) -> Result<(), Error> {
    let ServeConfig { pages, gateway, worker, ops_listen, owner, engines } = args.config()?;
    let data_dir = engines.data_dir.clone();
    let is_on_files = matches!(engines.store, StoreConfig::Files);
    let uses_files = is_on_files || matches!(engines.queue, QueueConfig::Files);
    let engines = Engines::serving(engines)?;
    for migration in engines.migrate().await? {
        tracing::info!(migration, "migrated");
    }
    for user in StoreUser::ALL {
        engines.store.check(user).await?;
    }
    let (tracer, exporter) = otlp::start(traces, "serve")?;
    let lifecycle = Lifecycle::default();
    let registry = Registry::new();
    if uses_files {
        file_metrics::register(&registry, data_dir.clone())?;
    }
    let queue = engines.queue.queue("serve", worker.retry_schedule.delays())?;
    let store = engines.store.store(store_tasks(worker.concurrency))?;
    let administration = engines.store.administration()?;
    let drain_timeout = gateway.drain_timeout;
    let gateway = GatewayServer::start(GatewayParts {
        settings: gateway,
        queue: &*queue,
        webhook_feed: engines.store.webhook_feed()?,
        traffic_log: administration.clone(),
        metrics_registry: &registry,
        lifecycle: lifecycle.watch(),
        tracer: tracer.clone(),
    })?;
    let public_url = match &args.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", gateway.address()),
    };
    let dashboard = DashboardServer::start(
        pages.settings(public_url.clone(), drain_timeout),
        administration.clone(),
        queue.clone(),
        lifecycle.watch(),
    )?;
    let worker_queue = ProbedQueue::start(queue, &registry, lifecycle.watch())?;
    let options = WorkerOptions {
        settings: worker,
        queue: worker_queue,
        store,
        traffic: administration.clone(),
        lifecycle: lifecycle.watch(),
        tracer,
    };
    let worker = Worker::new(options, &registry)?;
    let parts = gateway.health().into_iter().chain(worker.health()).collect();
    let readiness = Readiness::new(lifecycle.watch(), parts);
    let ops = ops::start(ops_listen, registry, readiness)?;
    let watch = lifecycle.watch();
    signals::follow(lifecycle, drain_timeout)?;
    // Last, when nothing else can fail: the URL is shown only once.
    let secrets = first_secrets(&*administration, &owner, &public_url, dashboard.url()).await?;
    let welcome = Welcome {
        secrets: secrets.as_ref(),
        dashboard_url: dashboard.url(),
        public_url: &public_url,
        ops: &ops,
        places: &engines.describe(),
        data_dir: is_on_files.then(|| data_dir.path()),
    };
    announce(&welcome, &data_dir)?;

    let gateway = async { Ok::<(), Error>(gateway.run().await?) };
    let dashboard = async { Ok::<(), Error>(dashboard.run().await?) };
    tokio::try_join!(gateway, dashboard, run_until_requeued(worker, &watch))?;
    exporter.flush().await;
    tracing::info!("drained; activities still in the queue are stored after the next start");
    Ok(())
}

/// Creates the first webhook and a sign-in link for its owner; `None` if a webhook exists already.
async fn first_secrets(
    admin: &dyn Administration,
    owner: &Email,
    public_url: &str,
    dashboard_url: &str,
) -> Result<Option<Secrets>, Error> {
    let Some((webhook, token)) = first_webhook::create(admin, owner).await? else {
        return Ok(None);
    };
    let path = one_time_link(admin, webhook.workspace_id, owner).await?;
    Ok(Some(Secrets {
        webhook: webhook.name,
        webhook_url: ingress_url(public_url, token.reveal()),
        sign_in_url: format!("{dashboard_url}{path}"),
    }))
}

/// Prints secrets only to a terminal. Without a terminal they go to private files, and the log
/// names the files.
fn announce(welcome: &Welcome<'_>, data_dir: &DataDir) -> Result<(), Error> {
    if std::io::stdout().is_terminal() {
        print!("{welcome}");
        return Ok(());
    }
    if let Some(Secrets { webhook, webhook_url, sign_in_url }) = welcome.secrets {
        let url_file = data_dir.write_secret(URL_FILE, &format!("{webhook_url}\n"))?;
        let link_file = data_dir.write_secret(LINK_FILE, &format!("{sign_in_url}\n"))?;
        tracing::info!(
            webhook,
            file = %url_file.display(),
            "created the first webhook; the file holds its secret URL"
        );
        tracing::info!(
            file = %link_file.display(),
            "the file holds a link that signs the owner in to the dashboard, once"
        );
    }
    tracing::info!(
        senders = welcome.public_url,
        dashboard = welcome.dashboard_url,
        ops = welcome.ops,
        data = welcome.places,
        "serving"
    );
    Ok(())
}
