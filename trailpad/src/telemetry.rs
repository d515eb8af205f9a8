//! Logs to standard error: for people on a terminal, otherwise as JSON lines.
//!
//! Invariant: only events of this project's crates are logged, at any level. A library's line may
//! quote a frame, a URL or a row, and with it a token or a payload (lapin logs a whole returned
//! message at WARN).

use std::io::IsTerminal;
use std::panic;

use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Human,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// `auto` chooses by whether standard error is a terminal.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "auto" if std::io::stderr().is_terminal() => Some(Self::Human),
            "auto" | "json" => Some(Self::Json),
            "human" => Some(Self::Human),
            _ => None,
        }
    }
}

/// Starts logging, also of panics.
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
        eprintln!("logging was already started");
    }
    panic::set_hook(Box::new(log_panic));
}

/// Logs the location of a panic. Its message is logged only if it is a constant, because a formatted
/// message may quote a token or a payload.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let message = info.payload().downcast_ref::<&'static str>().copied();
    let location = info.location().map(ToString::to_string);
    tracing::error!(location, reason = message, "panicked: this is a bug");
}
