//! The HTTP server and the list of all routes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig, get, post};
use actix_web::{App, HttpServer};
use tracing::{info, warn};
use trailpad_common::admin::Administration;
use trailpad_common::queue::Queue;
use trailpad_common::runtime::lifecycle::{LifecycleWatch, Phase};

use crate::assets::asset;
use crate::error::PageError;
use crate::pages::{
    account, activities, dead_letter_actions, dead_letters, general, integrations, members,
    projects, sign_in, webhook, webhook_actions,
};
use crate::security;
use crate::settings::Settings;
use crate::state::Dashboard;

/// Only a handful of people use a dashboard at a time.
const THREADS: usize = 2;
const CONNECTIONS_MAX: usize = 1_024;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
}

/// A dashboard that has bound its address. [`run`](Self::run) serves it.
pub struct DashboardServer {
    dashboard: web::Data<Dashboard>,
    listener: TcpListener,
    settings: Settings,
}

impl DashboardServer {
    /// Binds the address.
    ///
    /// # Errors
    /// The address can't be bound.
    pub fn start(
        settings: Settings,
        administration: Arc<dyn Administration>,
        queue: Arc<dyn Queue>,
        lifecycle: LifecycleWatch,
    ) -> Result<Self, StartError> {
        let failed = |error| StartError::Listen(settings.listen, error);
        let listener = TcpListener::bind(settings.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let url = settings.dashboard_url.clone().unwrap_or_else(|| format!("http://{address}"));
        if url.starts_with("https://") && settings.client_address_header.is_none() {
            warn!(
                "the dashboard is behind a proxy, but --client-address-header is not set: all password \
                 attempts count as coming from one host"
            );
        }
        let dashboard = Dashboard::new(administration, queue, &settings, &url, lifecycle);
        Ok(Self { dashboard: web::Data::new(dashboard), listener, settings })
    }

    /// The public URL.
    pub fn url(&self) -> &str {
        &self.dashboard.dashboard_url
    }

    /// Serves until the lifecycle drains.
    ///
    /// # Errors
    /// The server can't run.
    pub async fn run(self) -> io::Result<()> {
        let Self { dashboard, listener, settings } = self;
        let address = listener.local_addr()?;
        let lifecycle = dashboard.lifecycle.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(dashboard.clone())
                .wrap(from_fn(security::limit_time))
                .wrap(security::headers())
                .configure(routes)
        })
        .workers(THREADS)
        .max_connections(CONNECTIONS_MAX)
        .shutdown_timeout(settings.drain_timeout.as_secs().max(1))
        .disable_signals()
        .listen(listener)?
        .run();
        info!(listener = "dashboard", %address, "listening");
        let handle = server.handle();
        tokio::spawn(async move {
            lifecycle.reached(Phase::Draining).await;
            handle.stop(true).await;
        });
        server.await
    }
}

fn routes(app: &mut ServiceConfig) {
    app.route("/", get().to(home))
        .route("/assets/{version}/{name}", get().to(asset))
        .route("/sign-in", get().to(sign_in::form))
        .route("/sign-in", post().to(sign_in::sign_in))
        .route("/sign-out", post().to(sign_in::sign_out))
        .route("/invite/{link}", get().to(sign_in::invitation))
        .route("/invite/{link}", post().to(sign_in::accept))
        .route("/account", get().to(account::show))
        .route("/account", post().to(account::set_password))
        .route("/activities", get().to(activities::list))
        .route("/activities/stream", get().to(activities::stream))
        .route("/activities/{id}", get().to(activities::show))
        .route("/settings", get().to(general::show))
        .route("/settings", post().to(general::rename))
        .route("/settings/members", get().to(members::list))
        .route("/settings/members", post().to(members::invite))
        .route("/settings/members/role", post().to(members::set_role))
        .route("/settings/members/remove", post().to(members::remove))
        .route("/settings/projects", get().to(projects::list))
        .route("/settings/projects", post().to(projects::create))
        .route("/settings/projects/{id}", post().to(projects::rename))
        .route("/settings/integrations", get().to(integrations::list))
        .route("/settings/integrations", post().to(integrations::create))
        .route("/settings/integrations/new", get().to(integrations::new))
        .route("/webhooks/{id}", get().to(webhook::show))
        .route("/webhooks/{id}/stream", get().to(webhook::stream))
        .route("/webhooks/{id}/test", post().to(webhook_actions::test))
        .route("/webhooks/{id}/rename", post().to(webhook_actions::rename))
        .route("/webhooks/{id}/rotate", post().to(webhook_actions::rotate))
        .route("/webhooks/{id}/revoke", post().to(webhook_actions::revoke))
        .route("/dead-letters", get().to(dead_letters::list))
        .route("/dead-letters", post().to(dead_letter_actions::act))
        .route("/dead-letters/{id}", get().to(dead_letters::show))
        .default_service(web::to(not_found));
}

async fn home() -> actix_web::HttpResponse {
    actix_web::HttpResponse::SeeOther().insert_header(("Location", "/activities")).finish()
}

async fn not_found() -> Result<actix_web::HttpResponse, PageError> {
    Err(PageError::NotFound)
}
