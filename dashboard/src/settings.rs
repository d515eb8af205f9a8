//! Settings of the dashboard.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::header::HeaderName;

#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    /// Public URL of the gateway for senders, without a path.
    pub ingress_url: String,
    /// Public URL of the dashboard; `None` means the listen address. With `https`, browsers send the
    /// cookies only over TLS.
    pub dashboard_url: Option<String>,
    /// Header in which a proxy sends the client's address; `None` if no proxy is in front.
    pub client_address_header: Option<HeaderName>,
    /// Time for running requests to finish at shutdown.
    pub drain_timeout: Duration,
}
