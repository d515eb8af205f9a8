//! `trailpad serve`: every role in one process.

use std::io::IsTerminal;

use prometheus::Registry;
use trailpad_common::admin::{Admin, AdminError, NewWebhook, Role, Webhook, one_time_link};
use trailpad_common::email::Email;
use trailpad_common::runtime::lifecycle::{Lifecycle, Readiness};
use trailpad_common::webhook::token::NewToken;
use trailpad_dashboard::DashboardServer;
use trailpad_gateway::GatewayServer;
use trailpad_worker::Worker;

use crate::config::{Engines, ServeConfig};
use crate::engines::{admin, sign_in};
use crate::error::Error;
use crate::otlp::{self, TraceConfig};
use crate::roles::{run_worker, store_tasks};
use crate::welcome::Welcome;
use crate::{commands, ops, signals};

const WORKSPACE: &str = "My Workspace";
const PROJECT: &str = "My Project";
const WEBHOOK: &str = "My First Webhook";
/// Where the first webhook's URL goes if nobody sits at a terminal.
const URL_FILE: &str = "first-webhook-url";
/// And the owner's link to the dashboard.
const LINK_FILE: &str = "first-sign-in-url";

/// Runs gateway, worker and dashboard until they are told to stop.
pub async fn serve(config: ServeConfig, traces: Option<TraceConfig>) -> Result<(), Error> {
    let ServeConfig { gateway, worker, engines, .. } = config;
    let lock = engines.data_dir.lock()?;
    for migration in engines.migrate(&lock).await? {
        tracing::info!(migration, "migrated");
    }
    let (tracer, exporting) = otlp::start(traces, "serve")?;
    let (lifecycle, registry) = (Lifecycle::default(), Registry::new());
    let queue = engines.queue("serve", worker.retry_schedule.delays())?;
    let store = engines.store(store_tasks(worker.concurrency))?;
    let drain_timeout = gateway.drain_timeout;
    let (directory, traffic) = (engines.directory()?, engines.traffic()?);
    let server = GatewayServer::start(
        gateway,
        &queue,
        directory,
        traffic.clone(),
        &registry,
        lifecycle.watch(),
        tracer.clone(),
    )?;
    let public_url = match config.public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", server.address()),
    };
    let dashboard = DashboardServer::start(
        config.pages.settings(public_url.clone(), drain_timeout),
        engines.dashboard()?,
        queue.clone(),
        lifecycle.watch(),
    )?;
    let worker = Worker::new(worker, queue, store, traffic, &registry, lifecycle.watch(), tracer)?;
    let parts = server.health().into_iter().chain(worker.health()).collect();
    let readiness = Readiness::new(lifecycle.watch(), parts);
    let ops = ops::start(config.ops_listen, registry, readiness)?;
    let watch = lifecycle.watch();
    signals::follow(lifecycle, drain_timeout)?;
    // Not before everything else is there: its URL is shown this once.
    let admin = admin(&engines.store, &engines.data_dir)?;
    let first = first_webhook(&*admin, &config.owner).await?;
    let first = match first {
        Some((webhook, token)) => {
            let url = format!("{public_url}/webhooks/ingress/{}", token.reveal());
            let sign_in = sign_in(&engines.store, &engines.data_dir)?;
            let path = one_time_link(&*sign_in, webhook.workspace_id, &config.owner).await?;
            let link = format!("{}{path}", dashboard.url());
            Some(First { webhook, url, link })
        }
        None => None,
    };
    welcome(&engines, &public_url, dashboard.url(), &ops, first)?;

    let gateway = async { Ok::<(), Error>(server.run().await?) };
    let dashboard = async { Ok::<(), Error>(dashboard.run().await?) };
    tokio::try_join!(gateway, dashboard, run_worker(worker, &watch))?;
    exporting.flush().await;
    tracing::info!("everything in hand is settled; what is still in the queue is stored next time");
    Ok(())
}

/// Where there is no webhook yet: makes one, and what it belongs to. A start that was cut short is
/// continued.
async fn first_webhook(
    admin: &dyn Admin,
    owner: &Email,
) -> Result<Option<(Webhook, NewToken)>, Error> {
    if !admin.webhooks(None).await?.is_empty() {
        return Ok(None);
    }
    is_there_or_made(admin.create_workspace(WORKSPACE, owner).await)?;
    let workspace = admin.workspace(WORKSPACE).await?;
    is_there_or_made(admin.create_project(workspace.id, PROJECT).await)?;
    is_there_or_made(admin.add_member(workspace.id, owner, Role::Owner).await)?;
    let token = NewToken::generate();
    let new = NewWebhook {
        workspace_id: workspace.id,
        project_id: commands::project_named(admin, &workspace, PROJECT).await?,
        creator_id: commands::member_of(admin, &workspace, owner).await?,
        name: WEBHOOK.to_owned(),
        token: token.presented,
    };
    Ok(Some((admin.create_webhook(&new).await?, token)))
}

fn is_there_or_made<T>(made: Result<T, AdminError>) -> Result<(), Error> {
    match made {
        Ok(_) | Err(AdminError::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What a first start made, with its secrets.
struct First {
    webhook: Webhook,
    url: String,
    /// Signs the owner in to the dashboard, once.
    link: String,
}

/// Shows secrets only to somebody at a terminal; otherwise they go to files of theirs.
fn welcome(
    engines: &Engines,
    public_url: &str,
    dashboard_url: &str,
    ops: &str,
    first: Option<First>,
) -> Result<(), Error> {
    if std::io::stdout().is_terminal() {
        let secrets = first.as_ref().map(|first| (&*first.url, &*first.link));
        let (places, data_dir) = (&*engines.places(), engines.store_dir());
        print!("{}", Welcome { secrets, public_url, dashboard_url, ops, places, data_dir });
        return Ok(());
    }
    if let Some(First { webhook, url, link }) = first {
        let url_file = engines.data_dir.write_secret(URL_FILE, &format!("{url}\n"))?;
        let link_file = engines.data_dir.write_secret(LINK_FILE, &format!("{link}\n"))?;
        tracing::info!(
            webhook = webhook.name,
            file = %url_file.display(),
            "made a first webhook; its secret URL is in the file"
        );
        tracing::info!(
            file = %link_file.display(),
            "a link that signs you in to the dashboard, once, is in the file"
        );
    }
    tracing::info!(
        senders = public_url,
        dashboard = dashboard_url,
        ops,
        data = engines.places(),
        "serving"
    );
    Ok(())
}
