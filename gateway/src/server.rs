//! The HTTP server: binds, serves until the gateway drains, and ends with what is in flight
//! answered.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer, web};
use prometheus::Registry;
use tokio::net::TcpSocket;
use tracing::info;
use trailpad_common::queue::Queue;
use trailpad_common::runtime::lifecycle::{HealthWatch, LifecycleWatch, Phase};
use trailpad_common::runtime::trace::Tracer;
use trailpad_common::traffic::{TrafficLog, TrafficWriter};
use trailpad_common::webhook::WebhookFeed;

use crate::admission::Admission;
use crate::authenticator::Authenticator;
use crate::body::BodyLimits;
use crate::group_commit::GroupCommit;
use crate::handler::{Gateway, answer};
use crate::metrics::Metrics;
use crate::openapi::{OPENAPI_PATH, openapi_document};
use crate::settings::Settings;
use crate::traffic;

/// How long a connection is read on after an early rejection, so that a sender in the middle of its
/// body gets to see the answer.
const LINGER: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections that wait to be taken: a thousand senders may come back at once after a restart.
const BACKLOG: u32 = 2_048;

/// Why a gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address can't be bound.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// A metric is registered twice.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A gateway that is bound and serves once it is run.
pub struct GatewayServer {
    gateway: web::Data<Gateway>,
    listener: TcpListener,
    settings: Settings,
    traffic: TrafficWriter,
}

impl GatewayServer {
    /// Binds the address and starts to load the directory.
    ///
    /// # Errors
    /// The address can't be bound, or the registry has these metrics already.
    pub fn start(
        settings: Settings,
        queue: &Arc<dyn Queue>,
        directory: Box<dyn WebhookFeed>,
        traffic: Arc<dyn TrafficLog>,
        registry: &Registry,
        lifecycle: LifecycleWatch,
        tracer: Tracer,
    ) -> Result<Self, StartError> {
        let listener = bind(&settings)?;
        let metrics = Metrics::register(registry)?;
        let publishers = (0..settings.publish_slots).map(|_| queue.publisher()).collect();
        let authenticator = Authenticator::start(
            directory,
            settings.registry_staleness_max,
            settings.rate_limit,
            metrics.clone(),
        );
        let (refused, traffic) = traffic::start(authenticator.clone(), traffic);
        let gateway = Gateway {
            authenticator,
            admission: Admission::new(
                settings.in_flight_max,
                settings.in_flight_bytes_max,
                metrics.clone(),
            ),
            group_commit: GroupCommit::start(
                publishers,
                settings.batch_bytes_max,
                settings.in_flight_max,
                settings.publish_timeout,
                &metrics,
            ),
            queue_health: queue.publish_health(),
            lifecycle,
            body_limits: BodyLimits {
                bytes_max: settings.body_bytes_max,
                timeout: settings.body_timeout,
            },
            metrics,
            tracer,
            rejected: refused,
        };
        Ok(Self { gateway: web::Data::new(gateway), listener, settings, traffic })
    }

    /// Where senders reach it.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.settings.listen)
    }

    /// What the gateway needs to be ready.
    pub fn health(&self) -> Vec<(&'static str, HealthWatch)> {
        let directory = self.gateway.authenticator.health();
        vec![("queue (publishing)", self.gateway.queue_health.clone()), ("directory", directory)]
    }

    /// Serves until the lifecycle drains; returns when what was in flight is answered, or the
    /// drain timeout has passed, and the last counts are written, which takes at most 3 s.
    ///
    /// # Errors
    /// The server could not run.
    pub async fn run(self) -> io::Result<()> {
        let Self { gateway, listener, settings, traffic } = self;
        let (address, lifecycle) = (listener.local_addr()?, gateway.lifecycle.clone());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(gateway.clone())
                .route(OPENAPI_PATH, web::get().to(openapi_document))
                .default_service(web::to(answer))
        })
        .workers(settings.http_threads)
        .max_connections(settings.connections_max.div_ceil(settings.http_threads))
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(settings.head_timeout)
        .client_disconnect_timeout(LINGER)
        .shutdown_timeout(settings.drain_timeout.as_secs().max(1))
        .disable_signals()
        .listen(listener)?
        .run();
        info!(listener = "ingress", %address, "listening");
        let handle = server.handle();
        tokio::spawn(async move {
            lifecycle.reached(Phase::Draining).await;
            handle.stop(true).await;
        });
        let served = server.await;
        traffic.finish().await;
        served
    }
}

fn bind(settings: &Settings) -> Result<TcpListener, StartError> {
    let bound = || {
        let socket = match settings.listen {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(settings.listen)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bound().map_err(|error| StartError::Listen(settings.listen, error))
}
