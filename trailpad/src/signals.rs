//! Signals that end a process: the first drains it, the second exits at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use trailpad_common::runtime::lifecycle::{Lifecycle, Phase};

/// Handles SIGTERM and SIGINT from now on.
///
/// # Errors
/// The signal handlers can't be registered.
pub fn follow(lifecycle: Lifecycle, drain_timeout: Duration) -> io::Result<()> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    tokio::spawn(async move {
        let name = signals.next().await.0;
        info!(signal = name, "draining: accepting no new work, finishing the work in progress");
        lifecycle.enter(Phase::Draining);
        tokio::select! {
            () = tokio::time::sleep(drain_timeout) => {
                warn!("drain timeout passed: requeuing unfinished messages");
                lifecycle.enter(Phase::Stopping);
            }
            (name, number) = signals.next() => exit(name, number),
        }
        let (name, number) = signals.next().await;
        exit(name, number);
    });
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 15),
            _ = self.interrupt.recv() => ("SIGINT", 2),
        }
    }
}

/// Loses nothing: the queue redelivers unacknowledged messages, and storing is idempotent.
fn exit(name: &str, number: i32) -> ! {
    warn!(signal = name, "exiting at once");
    std::process::exit(128 + number)
}
