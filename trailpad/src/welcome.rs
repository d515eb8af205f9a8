//! What `trailpad serve` shows at a terminal.

use std::fmt;
use std::path::Path;

use trailpad_common::timestamp::Timestamp;

use crate::hint::program;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const PLAIN: &str = "\x1b[0m";

/// The welcome.
pub struct Welcome<'a> {
    /// The first webhook's URL and the owner's link to the dashboard, on the first start alone.
    pub secrets: Option<(&'a str, &'a str)>,
    /// Where people open the dashboard.
    pub dashboard_url: &'a str,
    /// Where senders reach the gateway.
    pub public_url: &'a str,
    /// Where the operators' port is.
    pub ops: &'a str,
    /// Where store and queue are.
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
        if let Some((url, link)) = self.secrets {
            self.first(f, url, link)?;
        }
        let (trailpad, data_dir) = (program(), self.data_dir_flag());
        for (what, value) in [
            ("The dashboard", self.dashboard_url.to_owned()),
            ("See what arrived", format!("{trailpad} activity list{data_dir}")),
            ("And what did not", format!("{trailpad} dead-letter list{data_dir}")),
            ("Another webhook", format!("{trailpad} webhook create --help")),
            ("Its webhooks", format!("{trailpad} webhook list{data_dir}")),
            ("Senders post to", format!("{}/webhooks/ingress/…", self.public_url)),
            ("Health, metrics", format!("http://{0}/readyz  http://{0}/metrics", self.ops)),
            ("The data", self.places.to_owned()),
        ] {
            writeln!(f, "  {DIM}{what:<17}{PLAIN} {value}")?;
        }
        writeln!(f)
    }
}

impl Welcome<'_> {
    fn first(&self, f: &mut fmt::Formatter<'_>, url: &str, link: &str) -> fmt::Result {
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

    /// What a command needs to find this directory.
    fn data_dir_flag(&self) -> String {
        match self.data_dir {
            Some(path) if path != Path::new("trailpad-data") => {
                format!(" --data-dir {}", path.display())
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(secrets: Option<(&str, &str)>, data_dir: &str) -> String {
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
    fn the_first_start_shows_the_url_and_a_curl_line_and_a_later_one_neither() {
        let first =
            shown(Some(("http://h/webhooks/ingress/tpw_x", "http://d/invite/x")), "trailpad-data");
        assert!(first.contains("http://d/invite/x"));
        assert!(first.contains("curl -X POST http://h/webhooks/ingress/tpw_x"));
        let later = shown(None, "trailpad-data");
        assert!(!later.contains("curl") && !later.contains("tpw_") && !later.contains("invite"));
    }

    #[test]
    fn a_directory_elsewhere_is_named_in_the_commands() {
        assert!(shown(None, "/srv/t").contains("activity list --data-dir /srv/t\n"));
        assert!(shown(None, "trailpad-data").contains("activity list\n"));
    }
}
