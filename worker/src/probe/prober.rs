//! The task of the probe: publishes probes, and reports what they show.

use std::sync::Weak;
use std::time::{Duration, Instant};

use prometheus::Gauge;
use tokio::sync::watch;
use tracing::{debug, warn};
use trailpad_common::queue::{Destination, MessageKind, Queue};
use trailpad_common::runtime::lifecycle::{Health, HealthWatch};

use super::progress::{Progress, SILENCE_MAX, progress, reason};
use super::state::{PROBE, Probe};

const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Prober {
    /// Weak, so that the task does not keep the queue open.
    pub queue: Weak<dyn Queue>,
    pub probe: Probe,
    pub publish_health: HealthWatch,
    pub health: watch::Sender<Health>,
    pub seconds: Gauge,
}

impl Prober {
    pub async fn run(mut self) {
        let probe = self.probe.clone();
        let queue = self.queue.clone();
        tokio::join!(publish(queue, probe), async move {
            while let Some(queue) = self.queue.upgrade() {
                self.check(&*queue).await;
                drop(queue);
                tokio::select! {
                    () = tokio::time::sleep(CHECK_INTERVAL) => {}
                    Ok(()) = self.publish_health.changed() => {}
                }
            }
        });
    }

    async fn check(&self, queue: &dyn Queue) {
        let now = Instant::now();
        let seen = self.probe.state().seen(now, 0);
        let can_publish = *self.publish_health.borrow() == Health::Up;
        let silence = if can_publish { self.probe.state().silence(now) } else { Duration::ZERO };
        self.seconds.set(silence.as_secs_f64());
        // Only a worker that would be stalled beside no other consumer asks for their number.
        let consumers = match progress(seen) {
            Progress::Undelivered => queue.consumers().await.unwrap_or(u32::MAX),
            Progress::Working | Progress::Unconfirmed => 0,
        };
        let mut state = self.probe.state();
        let seen = state.seen(Instant::now(), consumers);
        let found = progress(seen);
        if let Some(reason) = reason(found, seen)
            && state.stalled.as_ref().is_none_or(|(stalled, _)| *stalled != found)
        {
            warn!(reason, "no progress at the queue");
            state.stalled = Some((found, reason));
        }
        if found == Progress::Undelivered {
            state.judge_anew();
            self.probe.end_subscription();
        }
        let stalled = state.stalled.as_ref().map(|(_, reason)| reason.clone());
        drop(state);
        let health = match (&*self.publish_health.borrow(), stalled) {
            (Health::Up, Some(reason)) => Health::Down(reason),
            (health, _) => health.clone(),
        };
        self.health.send_if_modified(|current| {
            let is_changed = *current != health;
            *current = health;
            is_changed
        });
    }
}

/// Publishes a probe every 10 s while the worker waits for messages.
async fn publish(queue: Weak<dyn Queue>, probe: Probe) {
    let mut publisher = None;
    loop {
        tokio::time::sleep(PROBE_INTERVAL).await;
        let Some(queue) = queue.upgrade() else { return };
        let waiting = probe.state().seen(Instant::now(), 0).waiting;
        if waiting.is_none_or(|waiting| waiting < PROBE_INTERVAL) {
            continue;
        }
        let publisher_in_use = publisher.get_or_insert_with(|| queue.publisher());
        drop(queue);
        probe.state().unconfirmed_since.get_or_insert_with(Instant::now);
        let published =
            publisher_in_use.publish(Destination::Activities, MessageKind::Activities, PROBE);
        match tokio::time::timeout(SILENCE_MAX, published).await {
            Ok(Ok(())) => {
                let mut state = probe.state();
                state.unconfirmed_since = None;
                state.probes_confirmed += 1;
                state.clear(Progress::Unconfirmed);
            }
            Ok(Err(error)) => {
                // The health of the connection reports the cause.
                probe.state().unconfirmed_since = None;
                debug!(%error, "the probe was not published");
            }
            // The next probe goes over another channel. The time without a confirm goes on.
            Err(_) => publisher = None,
        }
    }
}
