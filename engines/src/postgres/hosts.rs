//! The hosts of a database URL: each gets a limit for TCP, TLS and startup together.
//!
//! `tokio_postgres::Config` tries its hosts in turn too, but its `connect_timeout` covers TCP only,
//! so a host that accepts a connection and then says nothing would hold up the others.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{Host, LoadBalanceHosts};
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

/// The limit of each host if the URL has no `connect_timeout`.
const HOST_TIMEOUT: Duration = Duration::from_secs(2);
/// The same if the URL names a single host: passing over it early would help nobody.
const ONLY_HOST_TIMEOUT: Duration = Duration::from_secs(5);

pub struct Hosts {
    /// Settings without hosts.
    settings: Config,
    hosts: Vec<Target>,
    limit: Duration,
    /// Tried first.
    last_good: Mutex<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    host: Option<Host>,
    address: Option<IpAddr>,
    port: u16,
}

/// A host, and the address among those of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    host: usize,
    address: Option<IpAddr>,
}

impl Hosts {
    /// `None` if the numbers of hosts, addresses and ports do not match.
    pub fn of(config: &Config) -> Option<Self> {
        let hosts = targets(config)?;
        let default = if hosts.len() > 1 { HOST_TIMEOUT } else { ONLY_HOST_TIMEOUT };
        let limit = config.get_connect_timeout().copied().unwrap_or(default);
        let first = match config.get_load_balance_hosts() {
            LoadBalanceHosts::Random => usize::from(Uuid::now_v7().as_bytes()[15]) % hosts.len(),
            _ => 0,
        };
        let mut settings = without_hosts(config);
        // For the connections that cancel a statement.
        settings.connect_timeout(limit);
        let last_good = Mutex::new(Place { host: first, address: None });
        Some(Self { settings, hosts, limit, last_good })
    }

    /// Connects to the first host that answers in time and has the wanted session attributes. Takes
    /// at most the limit for each host; a name counts once for each of its addresses.
    ///
    /// # Errors
    /// The error of a server if one answered, else of the host that was tried last.
    pub async fn connect(
        &self,
        tls: &MakeRustlsConnect,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        let last_good = *self.last_good.lock().unwrap_or_else(|broken| broken.into_inner());
        let mut failed = None;
        for host in rotation(self.hosts.len(), last_good.host) {
            let target = &self.hosts[host];
            for address in self.addresses(target, last_good.address).await {
                let connected = match timeout(self.limit, self.attempt(target, address, tls)).await
                {
                    Ok(connected) => connected,
                    // The only constructor of an error that is public. The crate `postgres` uses it
                    // for the same purpose.
                    Err(_) => Err(Error::__private_api_timeout()),
                };
                match connected {
                    Ok(connected) => {
                        *self.last_good.lock().unwrap_or_else(|broken| broken.into_inner()) =
                            Place { host, address };
                        return Ok(connected);
                    }
                    Err(error) => failed = Some(telling(failed, error)),
                }
            }
        }
        Err(failed.unwrap_or_else(Error::__private_api_timeout))
    }

    /// The addresses of a host, `preferred` first. `None` leaves the lookup to the driver: for a
    /// socket in the file system, or after a failed lookup, whose error the driver then reports.
    async fn addresses(&self, target: &Target, preferred: Option<IpAddr>) -> Vec<Option<IpAddr>> {
        if target.address.is_some() {
            return vec![target.address];
        }
        let Some(Host::Tcp(name)) = &target.host else { return vec![None] };
        let Ok(Ok(found)) = timeout(self.limit, lookup_host((name.as_str(), target.port))).await
        else {
            return vec![None];
        };
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        // A stable sort keeps the order of the others.
        addresses.sort_by_key(|address| Some(*address) != preferred);
        addresses.dedup();
        addresses.into_iter().map(Some).collect()
    }

    async fn attempt(
        &self,
        target: &Target,
        address: Option<IpAddr>,
        tls: &MakeRustlsConnect,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        let mut config = self.settings.clone();
        config.port(target.port);
        match &target.host {
            // The name that TLS verifies.
            Some(Host::Tcp(name)) => {
                config.host(name);
            }
            Some(Host::Unix(path)) => {
                config.host_path(path);
            }
            None => {}
        }
        if let Some(address) = address {
            config.hostaddr(address);
        }
        let (client, connection) = config.connect(tls.clone()).await?;
        let driver = tokio::spawn(async move {
            // The client reports the error to its caller.
            let _ = connection.await;
        });
        Ok((client, driver))
    }
}

/// The hosts of a URL with their addresses and ports (libpq, 34.1.1.3).
fn targets(config: &Config) -> Option<Vec<Target>> {
    let hosts = config.get_hosts();
    let addresses = config.get_hostaddrs();
    let ports = config.get_ports();
    let count = hosts.len().max(addresses.len());
    let matches = |length: usize| length == 0 || length == count;
    if count == 0 || !matches(hosts.len()) || !matches(addresses.len()) {
        return None;
    }
    if ports.len() != 1 && !matches(ports.len()) {
        return None;
    }
    let target = |at: usize| Target {
        host: hosts.get(at).cloned(),
        address: addresses.get(at).copied(),
        port: ports.get(at).or(ports.first()).copied().unwrap_or(5432),
    };
    Some((0..count).map(target).collect())
}

/// Copies every setting except hosts, addresses, ports and `connect_timeout`.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    if let Some(user) = config.get_user() {
        copy.user(user);
    }
    if let Some(password) = config.get_password() {
        copy.password(password);
    }
    if let Some(database) = config.get_dbname() {
        copy.dbname(database);
    }
    if let Some(options) = config.get_options() {
        copy.options(options);
    }
    if let Some(name) = config.get_application_name() {
        copy.application_name(name);
    }
    if let Some(limit) = config.get_tcp_user_timeout() {
        copy.tcp_user_timeout(*limit);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        copy.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        copy.keepalives_retries(retries);
    }
    copy.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    copy
}

/// Every index below `count`, from `first` on, in the order of a ring.
fn rotation(count: usize, first: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| (first + at) % count)
}

/// Of two failed attempts, the error that says more: the later one, unless only the earlier one is
/// the answer of a server.
fn telling(earlier: Option<Error>, later: Error) -> Error {
    match earlier {
        Some(earlier) if earlier.as_db_error().is_some() && later.as_db_error().is_none() => {
            earlier
        }
        _ => later,
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::TargetSessionAttrs;

    use super::*;

    fn parse(url: &str) -> Config {
        url.parse().expect("the URL should be valid")
    }

    fn hosts(url: &str) -> Hosts {
        Hosts::of(&parse(url)).expect("the hosts should match")
    }

    #[test]
    fn each_host_keeps_its_port_and_its_address() {
        let of = |url| -> Vec<_> {
            let target = |target: Target| (target.host, target.address, target.port);
            targets(&parse(url)).into_iter().flatten().map(target).collect()
        };
        let tcp = |name: &str| Some(Host::Tcp(name.to_owned()));
        let address: IpAddr = "10.0.0.1".parse().expect("the address should be valid");
        assert_eq!(of("postgres://u@a,b:5433/d"), [(tcp("a"), None, 5432), (tcp("b"), None, 5433)]);
        assert_eq!(of("host=a,b port=6000"), [(tcp("a"), None, 6000), (tcp("b"), None, 6000)]);
        assert_eq!(of("host=a hostaddr=10.0.0.1"), [(tcp("a"), Some(address), 5432)]);
        assert_eq!(of("hostaddr=10.0.0.1 port=7000"), [(None, Some(address), 7000)]);
        for url in ["host=a,b port=1,2,3", "host=a,b hostaddr=10.0.0.1", "user=u"] {
            assert!(targets(&parse(url)).is_none(), "{url}");
        }
    }

    #[test]
    fn the_limit_of_a_host_is_the_connect_timeout_of_the_url_or_the_default() {
        let limit = |url| hosts(url).limit;
        assert_eq!(limit("postgres://u@a,b/d"), HOST_TIMEOUT);
        assert_eq!(limit("postgres://u@a/d"), ONLY_HOST_TIMEOUT);
        assert_eq!(limit("postgres://u@a,b/d?connect_timeout=9"), Duration::from_secs(9));
        assert_eq!(limit("postgres://u@a/d?connect_timeout=1"), Duration::from_secs(1));
    }

    #[test]
    fn every_other_setting_of_the_url_is_kept() {
        let url = "postgres://u:p@a/d?application_name=n&options=-c%20x%3Dy&sslmode=require\
                   &sslnegotiation=direct&tcp_user_timeout=7&keepalives=0&keepalives_idle=8\
                   &keepalives_interval=9&keepalives_retries=4&target_session_attrs=read-write\
                   &channel_binding=require&load_balance_hosts=random";
        let mut copy = without_hosts(&parse(url));
        assert_eq!(copy.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        copy.host("a").port(5432);
        assert_eq!(copy, parse(url));
    }

    #[test]
    fn hosts_are_tried_in_turn_from_the_last_good_host_on() {
        assert_eq!(rotation(3, 0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(rotation(3, 2).collect::<Vec<_>>(), [2, 0, 1]);
    }

    #[tokio::test]
    async fn the_addresses_of_a_name_start_with_the_last_good_address() {
        let hosts = hosts("postgres://u@localhost,10.0.0.1/d");
        let found = hosts.addresses(&hosts.hosts[0], None).await;
        let last = *found.last().expect("localhost should have an address");
        assert_eq!(hosts.addresses(&hosts.hosts[0], last).await.first(), Some(&last));
        let preferred = "127.0.0.1".parse().ok();
        let address = "10.0.0.1".parse().ok();
        assert_eq!(hosts.addresses(&hosts.hosts[1], preferred).await, [address]);
    }
}
