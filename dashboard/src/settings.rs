//! What a dashboard can be told.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::header::HeaderName;

/// The settings of a dashboard.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The URL under which senders reach a gateway, without a path.
    pub ingress_url: String,
    /// The URL under which people reach the dashboard; none: the address it listens on. With
    /// `https`, cookies are for TLS alone.
    pub dashboard_url: Option<String>,
    /// The header in which a proxy says where a request comes from; none: no proxy is before it.
    pub client_address_header: Option<HeaderName>,
    /// How long requests in hand may take to finish when it ends.
    pub drain_timeout: Duration,
}
