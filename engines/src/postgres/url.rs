//! Parses a database URL. An error names the part that is wrong and quotes nothing of the URL,
//! because an unencoded password may continue in any part of it.

use std::error::Error as _;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The options that a URL may have (tokio-postgres, `Config`).
const OPTIONS: &str = "sslmode (disable, prefer, require), connect_timeout, target_session_attrs \
    (any, read-write, read-only), options, sslnegotiation, channel_binding, load_balance_hosts, \
    tcp_user_timeout, keepalives, keepalives_idle, keepalives_interval, keepalives_retries";

/// Options that other clients know: those of libpq (34.1.2), and some of ORMs. Any other unknown
/// option may be a part of an unencoded password, so its name is not printed.
const UNSUPPORTED: [&str; 33] = [
    "fallback_application_name",
    "passfile",
    "require_auth",
    "client_encoding",
    "replication",
    "gssencmode",
    "gsslib",
    "gssdelegation",
    "krbsrvname",
    "requirepeer",
    "service",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslrootcert",
    "sslcrl",
    "sslcrldir",
    "sslcompression",
    "sslcertmode",
    "sslsni",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "keepalives_count",
    "schema",
    "search_path",
    "currentSchema",
    "pgbouncer",
    "connection_limit",
    "pool_timeout",
    "pool_size",
    "statement_timeout",
    "statement_cache_size",
    "ssl",
];

/// Options with a fixed set or form of values.
const VALUES: [&str; 12] = [
    "sslnegotiation",
    "hostaddr",
    "host",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
];

/// A fault of a database URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    #[error(
        "not a PostgreSQL URL: write postgres://user:password@host:5432/database?sslmode=require"
    )]
    NotAUrl,
    #[error("invalid: it names no host")]
    NoHost,
    #[error("invalid: the numbers of its hosts, addresses and ports differ")]
    HostsDiffer,
    #[error(
        "invalid: special characters in the user, the password and the database have to be \
         percent-encoded, such as %40 for @, %23 for #, %2F for /, %3F for ? and %25 for %"
    )]
    Unencoded,
    #[error(
        "invalid: the sslmode is not supported: write sslmode=require, which verifies the \
         certificate and the name of the host as verify-full does"
    )]
    SslMode,
    #[error(
        "invalid: sslrootcert is not supported: the environment variable SSL_CERT_FILE names \
         certificates to trust"
    )]
    SslRootCert,
    #[error("invalid: the option {0} is not supported; supported are {OPTIONS}")]
    Unsupported(&'static str),
    #[error(
        "invalid: it has an unknown option; supported are {OPTIONS}; special characters in a \
         password have to be percent-encoded, such as %3F for ?"
    )]
    UnknownOption,
    #[error("invalid: the value of {0} is not valid")]
    Value(&'static str),
}

/// Parses a URL or a `key=value` connection string (libpq, 34.1.1).
pub fn parse(url: &str) -> Result<Config, BadUrl> {
    let at_signs = url.matches('@').count();
    match url.parse::<Config>() {
        Ok(config) if is_unencoded(&config) => Err(BadUrl::Unencoded),
        Ok(config) if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() => {
            Err(BadUrl::NoHost)
        }
        Ok(config) => Ok(config),
        Err(_) if at_signs > 1 && url.starts_with("postgres") => Err(BadUrl::Unencoded),
        Err(error) => Err(fault(&error)),
    }
}

/// `true` if the rest of a password seems to be the host or the database. The password ends at the
/// first `@`.
fn is_unencoded(config: &Config) -> bool {
    let is_odd = |host: &Host| match host {
        Host::Tcp(name) => name.contains(['@', '#', '?', '/', ' ']),
        Host::Unix(_) => false,
    };
    let database = config.get_dbname().unwrap_or_default();
    config.get_hosts().iter().any(is_odd) || database.contains('@')
}

/// Finds the part in the driver's text, which is "unknown option `…`" or "invalid value for option
/// `…`".
fn fault(error: &tokio_postgres::Error) -> BadUrl {
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    let quoted = text.split('`').nth(1).unwrap_or_default();
    let known = |names: &[&'static str]| names.iter().copied().find(|name| *name == quoted);
    if text.starts_with("invalid value for option") {
        if quoted == "sslmode" {
            return BadUrl::SslMode;
        }
        return known(&VALUES).map_or(BadUrl::NotAUrl, BadUrl::Value);
    }
    if !text.starts_with("unknown option") {
        return BadUrl::NotAUrl;
    }
    match known(&UNSUPPORTED) {
        Some("sslrootcert") => BadUrl::SslRootCert,
        Some(name) => BadUrl::Unsupported(name),
        None => BadUrl::UnknownOption,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_url_names_its_part() {
        for (url, wanted) in [
            ("mysql://u:p@h/d", BadUrl::NotAUrl),
            ("nonsense", BadUrl::NotAUrl),
            ("postgres://", BadUrl::NoHost),
            ("user=u password=p", BadUrl::NoHost),
            ("postgres://u:p@h/d?sslmode=verify-full", BadUrl::SslMode),
            ("postgres://u:p@h/d?sslmode=allow", BadUrl::SslMode),
            ("postgres://u:p@h/d?sslrootcert=/ca.pem", BadUrl::SslRootCert),
            ("postgres://u:p@h/d?schema=public", BadUrl::Unsupported("schema")),
            ("postgres://u:p@h/d?pgbouncer=true", BadUrl::Unsupported("pgbouncer")),
            ("postgres://u:p@h/d?SECRET=true", BadUrl::UnknownOption),
            ("host=h password=two words=x", BadUrl::UnknownOption),
            ("postgres://u:p@h:none/d", BadUrl::Value("port")),
            ("postgres://u:p@h/d?connect_timeout=2s", BadUrl::Value("connect_timeout")),
        ] {
            assert_eq!(parse(url).map(drop), Err(wanted), "{url}");
        }
    }

    #[test]
    fn an_unencoded_password_is_found_and_no_part_of_it_is_printed() {
        for password in ["p@SECRET", "p@SECRET#x", "p@x?SECRET=1", "p@x/SECRET", "p@x?SECRET"] {
            let error = parse(&format!("postgres://u:{password}@host/d")).map(drop);
            assert_eq!(error, Err(BadUrl::Unencoded), "{password}");
        }
        let encoded = parse("postgres://u:p%40%23%3F%2F%25@host/d").expect("it should be valid");
        assert_eq!(encoded.get_password(), Some(b"p@#?/%".as_slice()));
    }

    #[test]
    fn valid_urls_are_accepted() {
        for url in [
            "postgres://u:p@h/d?sslmode=require&application_name=a@b",
            "postgresql://u@[::1]:5433,h2/d",
            "postgres://u@%2Fvar%2Frun%2Fpostgresql/d",
            "host=h user=u password='two words'",
            "hostaddr=10.0.0.1 user=u",
        ] {
            assert_eq!(parse(url).map(drop), Ok(()), "{url}");
        }
    }
}
