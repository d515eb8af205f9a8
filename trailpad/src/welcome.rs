//! The welcome text of `trailpad serve` on a terminal.

use std::fmt;
use std::path::Path;

use trailpad_common::timestamp::Timestamp;
use trailpad_common::webhook::ingress_url;

use crate::hint::program;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// Secrets that a first start creates.
pub struct Secrets {
    pub webhook: String,
    pub webhook_url: String,
    /// Signs the owner in to the dashboard, once.
    pub sign_in_url: String,
}

pub struct Welcome<'a> {
    /// Only on the first start.
    pub secrets: Option<&'a Secrets>,
    pub dashboard_url: &'a str,
    /// The URL under which senders reach the gateway.
    pub public_url: &'a str,
    /// The address of the operators' port.
    pub ops: &'a str,
    /// The locations of store and queue, in words.
    pub places: &'a str,
    /// The data directory, if the store is in it.
    pub data_dir: Option<&'a Path>,
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n  {GREEN}●{PLAIN} {BOLD}Trailpad is running{PLAIN}  {DIM}Ctrl-C drains and stops it{PLAIN}\n"
        )?;
        if let Some(secrets) = self.secrets {
            write_secrets(f, secrets)?;
        }
        let trailpad = program();
        let data_dir = self.data_dir_flag();
        for (label, value) in [
            ("Dashboard", self.dashboard_url.to_owned()),
            ("List activities", format!("{trailpad} activity list{data_dir}")),
            ("List dead letters", format!("{trailpad} dead-letter list{data_dir}")),
            ("New webhook", format!("{trailpad} webhook create --help")),
            ("List webhooks", format!("{trailpad} webhook list{data_dir}")),
            ("Ingress URL", ingress_url(self.public_url, "…")),
            ("Health, metrics", format!("http://{0}/readyz  http://{0}/metrics", self.ops)),
            ("Data", self.places.to_owned()),
        ] {
            writeln!(f, "  {DIM}{label:<17}{PLAIN} {value}")?;
        }
        writeln!(f)
    }
}

impl Welcome<'_> {
    /// The flag with which a command finds this data directory.
    fn data_dir_flag(&self) -> String {
        match self.data_dir {
            Some(path) if path != Path::new("trailpad-data") => {
                format!(" --data-dir {}", path.display())
            }
            _ => String::new(),
        }
    }
}

fn write_secrets(f: &mut fmt::Formatter<'_>, secrets: &Secrets) -> fmt::Result {
    let Secrets { webhook_url: url, sign_in_url: link, .. } = secrets;
    let now = Timestamp::now().to_datetime().format("%Y-%m-%dT%H:%M:%SZ");
    writeln!(
        f,
        "  {BOLD}Your first webhook{PLAIN}. Its URL holds a secret token and is shown this once:\n"
    )?;
    writeln!(f, "    {url}\n")?;
    writeln!(f, "  {BOLD}Send it an activity{PLAIN} from another terminal:\n")?;
    writeln!(f, "    curl -X POST {url} \\")?;
    writeln!(f, "      -H 'Content-Type: application/json' \\")?;
    writeln!(f, "      -d '{{\"title\": \"Hello Trailpad\", \"startTime\": \"{now}\"}}'\n")?;
    writeln!(
        f,
        "  {BOLD}And see it arrive{PLAIN} on the dashboard. This link signs you in, once:\n"
    )?;
    writeln!(f, "    {link}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(secrets: Option<&Secrets>, data_dir: &str) -> String {
        Welcome {
            secrets,
            public_url: "http://127.0.0.1:8080",
            dashboard_url: "http://127.0.0.1:8090",
            ops: "127.0.0.1:9081",
            places: "store.db, queue.db",
            data_dir: Some(Path::new(data_dir)),
        }
        .to_string()
    }

    #[test]
    fn only_the_first_start_shows_the_secret_url_and_a_curl_line() {
        let secrets = Secrets {
            webhook: "My First Webhook".to_owned(),
            webhook_url: "http://h/webhooks/ingress/tpw_x".to_owned(),
            sign_in_url: "http://d/invite/x".to_owned(),
        };
        let first = shown(Some(&secrets), "trailpad-data");
        assert!(first.contains("http://d/invite/x"));
        assert!(first.contains("curl -X POST http://h/webhooks/ingress/tpw_x"));
        let later = shown(None, "trailpad-data");
        assert!(!later.contains("curl") && !later.contains("tpw_") && !later.contains("invite"));
    }

    #[test]
    fn the_commands_name_a_data_directory_that_is_not_the_default() {
        assert!(shown(None, "/srv/t").contains("activity list --data-dir /srv/t\n"));
        assert!(shown(None, "trailpad-data").contains("activity list\n"));
    }
}
