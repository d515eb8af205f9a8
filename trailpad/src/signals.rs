//! The end of a process: a first signal drains it, a second one ends it at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};
use trailpad_common::runtime::lifecycle::{Lifecycle, Phase};

/// Follows SIGTERM and SIGINT from now on.
///
/// # Errors
/// The system refuses to tell of signals.
pub fn follow(lifecycle: Lifecycle, drain_timeout: Duration) -> io::Result<()> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    tokio::spawn(async move {
        let name = signals.next().await.0;
        info!(signal = name, "draining: nothing new is taken, what is in hand is finished");
        lifecycle.enter(Phase::Draining);
        tokio::select! {
            () = tokio::time::sleep(drain_timeout) => {
                warn!("the drain timeout has passed: handing back what is still in hand");
                lifecycle.enter(Phase::Stopping);
            }
            (name, number) = signals.next() => leave(name, number),
        }
        let (name, number) = signals.next().await;
        leave(name, number);
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

/// What is in hand comes again from the queue, and storing is idempotent.
fn leave(name: &str, number: i32) -> ! {
    warn!(signal = name, "leaving at once");
    std::process::exit(128 + number)
}
