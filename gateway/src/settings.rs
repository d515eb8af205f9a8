//! The operator's settings of a gateway. `trailpad/` reads them from flags and variables.

use std::net::SocketAddr;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Settings {
    /// The address of the ingress listener.
    pub listen: SocketAddr,
    pub http_threads: usize,
    /// Limit of open connections, over all threads.
    pub connections_max: usize,
    /// The largest body, also after decompression.
    pub body_bytes_max: usize,
    /// Limit of concurrent requests.
    pub in_flight_max: usize,
    /// Limit of the bytes of bodies in flight.
    pub in_flight_bytes_max: usize,
    /// Time for a request's head to arrive.
    pub head_timeout: Duration,
    /// Time for a request's body to arrive.
    pub body_timeout: Duration,
    /// Time to wait for the queue's confirm before a request is answered without one.
    pub publish_timeout: Duration,
    /// Limit of unconfirmed messages.
    pub publish_slots: usize,
    /// The largest message, unless a single activity is larger.
    pub batch_bytes_max: usize,
    /// Rate limit of one webhook in this process; `None` for no limit.
    pub rate_limit: Option<RateLimit>,
    /// Age of the last successful registry refresh up to which known tokens are accepted.
    pub registry_staleness_max: Duration,
    /// Time for requests in flight to finish after the gateway begins to drain.
    pub drain_timeout: Duration,
}

/// Rate limit of one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Activities per second, on average.
    pub per_second: std::num::NonZeroU32,
    /// Activities at once after an idle period.
    pub burst: std::num::NonZeroU32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            http_threads: std::thread::available_parallelism().map_or(2, usize::from),
            connections_max: 10_000,
            body_bytes_max: 256 * 1_024,
            in_flight_max: 8_192,
            in_flight_bytes_max: 128 * 1_024 * 1_024,
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            publish_timeout: Duration::from_secs(5),
            publish_slots: 3,
            batch_bytes_max: 1_024 * 1_024,
            rate_limit: None,
            registry_staleness_max: Duration::from_secs(3_600),
            drain_timeout: Duration::from_secs(25),
        }
    }
}
