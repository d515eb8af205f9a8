//! What an operator may set of a gateway; trailpad/ reads it from flags and variables.

use std::net::SocketAddr;
use std::time::Duration;

/// The settings of a gateway. Units stand in the names.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where senders post to.
    pub listen: SocketAddr,
    /// Threads that serve HTTP.
    pub http_threads: usize,
    /// Open connections at a time, over all threads.
    pub connections_max: usize,
    /// The largest body, also once decompressed.
    pub body_bytes_max: usize,
    /// Requests in flight at a time.
    pub in_flight_max: usize,
    /// Bytes of bodies in flight at a time.
    pub in_flight_bytes_max: usize,
    /// How long a request's head may take to arrive.
    pub head_timeout: Duration,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a sender waits for the queue's confirm before it is told that the outcome is
    /// unknown.
    pub publish_timeout: Duration,
    /// Messages that may be unconfirmed at a time.
    pub publish_slots: usize,
    /// The largest message, unless a single activity is larger.
    pub batch_bytes_max: usize,
    /// Activities a second that one webhook may post to this process; none: no limit.
    pub rate_limit: Option<RateLimit>,
    /// How long known tokens are served without news from the store.
    pub registry_staleness_max: Duration,
    /// How long requests in flight may take to finish once the gateway is told to stop.
    pub drain_timeout: Duration,
}

/// A webhook's rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Activities a second, on average.
    pub per_second: std::num::NonZeroU32,
    /// Activities at once after a quiet time.
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
