//! Logs: for people on a terminal, as JSON lines elsewhere, always to standard error.
//!
//! Only events of this project's own crates pass, whatever level is asked for: a library's line
//! may quote a frame, a URL or a row, and with it a token or a payload (lapin prints a returned
//! message whole, at WARN).

use std::io::IsTerminal;
use std::panic;

use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// The format of this name; `auto` looks at standard error.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "auto" if std::io::stderr().is_terminal() => Some(Self::Human),
            "auto" | "json" => Some(Self::Json),
            "human" => Some(Self::Human),
            _ => None,
        }
    }
}

/// Starts to log, and to log panics.
pub fn start(level: LevelFilter, format: Format) {
    let lines = match format {
        Format::Human => fmt::layer().with_writer(std::io::stderr).with_target(false).boxed(),
        Format::Json => {
            fmt::layer().with_writer(std::io::stderr).json().flatten_event(true).boxed()
        }
    };
    let ours = filter_fn(|metadata| metadata.target().starts_with("trailpad"));
    let started =
        tracing_subscriber::registry().with(lines.with_filter(ours.and(level))).try_init();
    if started.is_err() {
        eprintln!("the log was started already");
    }
    panic::set_hook(Box::new(log_panic));
}

/// Where a panic was, and its message only if it is a constant: one that was formatted may quote
/// what it stumbled over.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let message = info.payload().downcast_ref::<&'static str>().copied();
    let location = info.location().map(ToString::to_string);
    tracing::error!(location, reason = message, "panicked: this is a bug");
}
