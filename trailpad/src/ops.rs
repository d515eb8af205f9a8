//! The operators' port: is it alive, is it ready, what does it count.

use std::io;
use std::net::SocketAddr;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{App, HttpResponse, HttpServer, web};
use prometheus::{Encoder, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};
use serde::Serialize;
use trailpad_common::runtime::lifecycle::Readiness;
use trailpad_common::runtime::metrics as names;

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

/// Serves until the process ends, also while it drains; gives the address it listens on.
///
/// # Errors
/// The address can't be bound, or the registry has these metrics already.
pub fn start(
    listen: SocketAddr,
    registry: Registry,
    readiness: Readiness,
) -> Result<String, Error> {
    let ready = register(&registry)?;
    let ops = Ops { registry, readiness, ready };
    serve(listen, web::Data::new(ops)).map_err(|error| Error::listen(listen, &error))
}

/// What every role tells of itself.
fn register(registry: &Registry) -> prometheus::Result<IntGauge> {
    let build = Opts::new(names::BUILD_INFO, "1, with the version as a label.");
    let build = IntGaugeVec::new(build, &["version"])?;
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    registry.register(Box::new(build))?;
    let ready = IntGauge::new(names::READY, "1 where every part that the role needs is there.")?;
    registry.register(Box::new(ready.clone()))?;
    Ok(ready)
}

fn serve(listen: SocketAddr, ops: web::Data<Ops>) -> io::Result<String> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(ops.clone())
            .route("/livez", web::get().to(livez))
            .route("/readyz", web::get().to(readyz))
            .route("/metrics", web::get().to(metrics))
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

/// The process runs. Says nothing of what it needs: to restart it would not bring that back.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().body("alive\n")
}

async fn readyz(ops: web::Data<Ops>) -> HttpResponse {
    let reasons = ops.readiness.reasons();
    let ready = reasons.is_empty();
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    response.json(Ready { ready, reasons })
}

async fn metrics(ops: web::Data<Ops>) -> HttpResponse {
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
    HttpResponse::NotFound().body("here are /livez, /readyz and /metrics\n")
}
