//! The HTTP server: binds, serves until the gateway drains, and answers requests in flight before it
//! ends.

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
use crate::group_commit::{GroupCommit, GroupCommitLimits};
use crate::handler::{Gateway, handle};
use crate::live_registry::LiveRegistry;
use crate::metrics::Metrics;
use crate::observation::Observer;
use crate::openapi::{OPENAPI_PATH, openapi_document};
use crate::settings::Settings;
use crate::traffic;

/// Time to keep reading a connection after an early rejection, so that a sender in the middle of its
/// body receives the response.
const LINGER: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections that wait to be accepted: a thousand senders may reconnect at once after a restart.
const BACKLOG: u32 = 2_048;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    #[error("can't register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Everything that a gateway is built from.
pub struct GatewayParts<'a> {
    pub settings: Settings,
    pub queue: &'a dyn Queue,
    pub webhook_feed: Box<dyn WebhookFeed>,
    pub traffic_log: Arc<dyn TrafficLog>,
    pub metrics_registry: &'a Registry,
    pub lifecycle: LifecycleWatch,
    pub tracer: Tracer,
}

/// A gateway that is bound to its address. [`GatewayServer::run`] serves requests.
pub struct GatewayServer {
    gateway: web::Data<Gateway>,
    listener: TcpListener,
    settings: Settings,
    traffic: TrafficWriter,
}

impl GatewayServer {
    /// Binds the address and starts to load the webhooks.
    ///
    /// # Errors
    /// The address can't be bound, or `metrics_registry` already has these metrics.
    pub fn start(parts: GatewayParts<'_>) -> Result<Self, StartError> {
        let GatewayParts {
            settings,
            queue,
            webhook_feed,
            traffic_log,
            metrics_registry,
            lifecycle,
            tracer,
        } = parts;
        let listener = bind(&settings)?;
        let metrics = Metrics::register(metrics_registry)?;
        let publishers = (0..settings.publish_slots).map(|_| queue.publisher()).collect();
        let registry = LiveRegistry::start(
            webhook_feed,
            settings.registry_staleness_max,
            settings.rate_limit,
            metrics.clone(),
        );
        let (rejected_requests, traffic) = traffic::start(registry.clone(), traffic_log);
        let gateway = Gateway {
            authenticator: Authenticator { registry },
            admission: Admission::new(
                settings.in_flight_max,
                settings.in_flight_bytes_max,
                metrics.clone(),
            ),
            group_commit: GroupCommit::start(
                publishers,
                GroupCommitLimits {
                    batch_bytes_max: settings.batch_bytes_max,
                    waiting_max: settings.in_flight_max,
                    publish_timeout: settings.publish_timeout,
                },
                &metrics,
            ),
            queue_health: queue.publish_health(),
            lifecycle,
            body_limits: BodyLimits {
                bytes_max: settings.body_bytes_max,
                timeout: settings.body_timeout,
            },
            observer: Observer { metrics, tracer, rejected_requests },
        };
        Ok(Self { gateway: web::Data::new(gateway), listener, settings, traffic })
    }

    /// The address that is bound, also if the settings ask for any free port.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap_or(self.settings.listen)
    }

    /// The dependencies of the gateway's readiness, by name.
    pub fn health(&self) -> Vec<(&'static str, HealthWatch)> {
        let registry = self.gateway.authenticator.registry.health();
        vec![("queue (publishing)", self.gateway.queue_health.clone()), ("registry", registry)]
    }

    /// Serves until the lifecycle drains. Returns after the requests in flight are answered or the
    /// drain timeout has passed, and the last counts are written, which takes at most 3 s.
    ///
    /// # Errors
    /// The server failed.
    pub async fn run(self) -> io::Result<()> {
        let Self { gateway, listener, settings, traffic } = self;
        let address = listener.local_addr()?;
        let lifecycle = gateway.lifecycle.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(gateway.clone())
                .route(OPENAPI_PATH, web::get().to(openapi_document))
                .default_service(web::to(handle))
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
        let server_handle = server.handle();
        tokio::spawn(async move {
            lifecycle.reached(Phase::Draining).await;
            server_handle.stop(true).await;
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
