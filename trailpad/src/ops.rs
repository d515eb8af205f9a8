//! The operators' port: liveness, readiness and metrics.

use std::io;
use std::net::SocketAddr;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, HttpServer, web};
use prometheus::{Encoder, IntGauge, Registry, TextEncoder};
use serde::Serialize;
use trailpad_common::runtime::lifecycle::Readiness;
use trailpad_common::runtime::metrics::{self, Registrar};

use crate::error::Error;

#[derive(Clone)]
struct Ops {
    registry: Registry,
    readiness: Readiness,
    ready: IntGauge,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    reasons: Vec<String>,
}

/// Serves until the process ends, also while it drains. Returns the address it listens on.
///
/// # Errors
/// The address can't be bound, or the registry already has these metrics.
pub fn start(
    listen: SocketAddr,
    registry: Registry,
    readiness: Readiness,
) -> Result<String, Error> {
    let ready = register(&registry)?;
    let ops = Ops { registry, readiness, ready };
    serve(listen, web::Data::new(ops)).map_err(|source| Error::Listen { address: listen, source })
}

/// Registers the metrics that every role has.
fn register(registry: &Registry) -> prometheus::Result<IntGauge> {
    let registrar = Registrar(registry);
    let build_info = registrar.gauge_by(&metrics::BUILD_INFO, "version")?;
    build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registrar.gauge(&metrics::READY)
}

fn serve(listen: SocketAddr, ops: web::Data<Ops>) -> io::Result<String> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(ops.clone())
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics_text))
            .default_service(web::to(not_found))
    })
    .workers(1)
    .disable_signals()
    .bind(listen)?;
    let addresses = server.addrs();
    tokio::spawn(server.run());
    let address = addresses.first().copied().unwrap_or(listen);
    tracing::info!(listener = "ops", %address, "listening");
    Ok(address.to_string())
}

/// Checks only that the process runs. A restart would not repair an unavailable database or queue.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().body("alive\n")
}

async fn readyz(ops: web::Data<Ops>) -> HttpResponse {
    let reasons = ops.readiness.reasons();
    let ready = reasons.is_empty();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Ready { ready, reasons })
}

async fn metrics_text(ops: web::Data<Ops>) -> HttpResponse {
    ops.ready.set(ops.readiness.reasons().is_empty().into());
    let mut text = Vec::new();
    match TextEncoder::new().encode(&ops.registry.gather(), &mut text) {
        Ok(()) => {
            HttpResponse::Ok().insert_header((CONTENT_TYPE, prometheus::TEXT_FORMAT)).body(text)
        }
        Err(error) => HttpResponse::InternalServerError().body(format!("{error}\n")),
    }
}

async fn not_found() -> HttpResponse {
    HttpResponse::NotFound().body("not found: this port serves /livez, /readyz and /metrics\n")
}
