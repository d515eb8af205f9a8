//! Settings of the roles, read from the words of their arguments.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::http::header::{self, HeaderName};

use super::faults::Faults;
use crate::args::{DrainArgs, GatewayBounds, OpsListen, PagesArgs, WorkerBounds};

/// Well below the broker's consumer timeout of 30 minutes.
const HOLD_MAX: Duration = Duration::from_secs(25 * 60);
const DAY: Duration = Duration::from_secs(24 * 3_600);

pub struct PagesConfig {
    listen: SocketAddr,
    url: Option<String>,
    client_address_header: Option<HeaderName>,
}

impl PagesConfig {
    /// `ingress_url` is the URL under which senders reach a gateway.
    pub fn settings(
        self,
        ingress_url: String,
        drain_timeout: Duration,
    ) -> trailpad_dashboard::Settings {
        trailpad_dashboard::Settings {
            listen: self.listen,
            ingress_url,
            dashboard_url: self.url,
            client_address_header: self.client_address_header,
            drain_timeout,
        }
    }
}

impl Faults {
    pub fn ops_listen(&mut self, args: &OpsListen) -> SocketAddr {
        self.parse("ops-listen", &args.ops_listen, "an address such as 127.0.0.1:9081")
    }

    pub fn drain_timeout(&mut self, args: &DrainArgs) -> Duration {
        self.time("drain-timeout", &args.drain_timeout, DAY)
    }

    pub fn pages(&mut self, args: &PagesArgs) -> PagesConfig {
        let url = args.dashboard_url.clone();
        let is_web = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if url.as_deref().is_some_and(|url| !is_web(url)) {
            self.add("dashboard-url", "must be a URL such as https://trailpad.example.com");
        }
        let client_address_header = args.client_address_header.as_ref().map(|name| {
            let wanted = "the name of a header such as X-Forwarded-For";
            self.parse_or("client-address-header", name, header::FORWARDED, wanted)
        });
        let wanted = "an address such as 127.0.0.1:8090";
        PagesConfig {
            listen: self.parse("dashboard-listen", &args.dashboard_listen, wanted),
            url,
            client_address_header,
        }
    }

    pub fn gateway_settings(
        &mut self,
        listen: &str,
        bounds: &GatewayBounds,
        drain: &DrainArgs,
    ) -> trailpad_gateway::Settings {
        trailpad_gateway::Settings {
            listen: self.parse("listen", listen, "an address such as 127.0.0.1:8080"),
            http_threads: match &bounds.http_threads {
                Some(threads) => self.count("http-threads", threads, 1, 1_024),
                None => trailpad_gateway::Settings::default().http_threads,
            },
            connections_max: self.count("connections-max", &bounds.connections_max, 1, 1_000_000),
            body_bytes_max: self.count("body-bytes-max", &bounds.body_bytes_max, 1_024, 16 << 20),
            in_flight_max: self.count("in-flight-max", &bounds.in_flight_max, 1, 1_000_000),
            in_flight_bytes_max: self.count(
                "in-flight-bytes-max",
                &bounds.in_flight_bytes_max,
                1 << 20,
                1 << 40,
            ),
            head_timeout: self.time("head-timeout", &bounds.head_timeout, DAY),
            body_timeout: self.time("body-timeout", &bounds.body_timeout, DAY),
            publish_timeout: self.time("publish-timeout", &bounds.publish_timeout, DAY),
            publish_slots: self.count("publish-slots", &bounds.publish_slots, 1, 64),
            batch_bytes_max: self.count("batch-bytes-max", &bounds.batch_bytes_max, 1_024, 8 << 20),
            rate_limit: self.rate_limit(bounds.rate_limit.as_deref(), bounds.rate_burst.as_deref()),
            registry_staleness_max: self.time(
                "registry-staleness-max",
                &bounds.registry_staleness_max,
                365 * DAY,
            ),
            drain_timeout: self.drain_timeout(drain),
        }
    }

    pub fn worker_settings(
        &mut self,
        bounds: &WorkerBounds,
        drain: &DrainArgs,
    ) -> trailpad_worker::Settings {
        trailpad_worker::Settings {
            prefetch_messages: self.count(
                "prefetch-messages",
                &bounds.prefetch_messages,
                1,
                65_535,
            ),
            batch_activities_max: self.count(
                "batch-activities-max",
                &bounds.batch_activities_max,
                1,
                10_000,
            ),
            concurrency: self.count("concurrency", &bounds.concurrency, 1, 64),
            retry_schedule: self.parse(
                "retry-schedule",
                &bounds.retry_schedule,
                "delays such as 10s,1m,10m: at most 16, each from 100ms to 7days",
            ),
            retries_bytes_max: self.count(
                "retries-bytes-max",
                &bounds.retries_bytes_max,
                1_024,
                1 << 40,
            ),
            hold_max: self.time("hold-max", &bounds.hold_max, HOLD_MAX),
            store_backoff_max: self.time("store-backoff-max", &bounds.store_backoff_max, DAY),
            drain_timeout: self.drain_timeout(drain),
        }
    }
}
