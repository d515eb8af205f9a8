//! A queue whose deliveries are proved by probes.

use std::sync::Arc;

use async_trait::async_trait;
use prometheus::Registry;
use tokio::sync::watch;
use trailpad_common::failure::Unavailable;
use trailpad_common::queue::{Delivery, Depths, Publisher, Queue, Source, Subscription};
use trailpad_common::runtime::lifecycle::{HealthWatch, LifecycleWatch, Phase};
use trailpad_common::runtime::metrics::{QUEUE_PROBE_SECONDS, Registrar};

use super::prober::Prober;
use super::state::Probe;

/// A queue whose deliveries are proved by probes. Its `publish_health` is also down while the queue
/// confirms or delivers nothing.
pub struct ProbedQueue {
    queue: Arc<dyn Queue>,
    probe: Probe,
    health: HealthWatch,
}

impl ProbedQueue {
    /// Starts the probe of a worker. It ends once the worker drains or the queue is dropped.
    ///
    /// # Errors
    /// The registry already contains the metric of the probe.
    pub fn start(
        queue: Arc<dyn Queue>,
        registry: &Registry,
        lifecycle: LifecycleWatch,
    ) -> prometheus::Result<Arc<dyn Queue>> {
        let seconds = Registrar(registry).seconds(&QUEUE_PROBE_SECONDS)?;
        let publish_health = queue.publish_health();
        let (sender, health) = watch::channel(publish_health.borrow().clone());
        let probe = Probe::new();
        let prober = Prober {
            queue: Arc::downgrade(&queue),
            probe: probe.clone(),
            publish_health,
            health: sender,
            seconds,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = prober.run() => {}
                () = lifecycle.reached(Phase::Draining) => {}
            }
        });
        Ok(Arc::new(Self { queue, probe, health }))
    }
}

#[async_trait]
impl Queue for ProbedQueue {
    fn publisher(&self) -> Box<dyn Publisher> {
        self.queue.publisher()
    }

    fn publish_health(&self) -> HealthWatch {
        self.health.clone()
    }

    fn consume_health(&self) -> HealthWatch {
        self.queue.consume_health()
    }

    async fn subscribe(
        &self,
        source: Source,
        prefetch: u16,
    ) -> Result<Box<dyn Subscription>, Unavailable> {
        let subscription = self.queue.subscribe(source, prefetch).await?;
        if source == Source::Dead {
            return Ok(subscription);
        }
        let probe = self.probe.clone();
        probe.subscribed();
        let resubscribe = probe.subscription_ends();
        Ok(Box::new(ProbedSubscription { subscription, probe, resubscribe, is_open: true }))
    }

    async fn depths(&self) -> Result<Depths, Unavailable> {
        self.queue.depths().await
    }

    async fn consumers(&self) -> Result<u32, Unavailable> {
        self.queue.consumers().await
    }
}

struct ProbedSubscription {
    subscription: Box<dyn Subscription>,
    probe: Probe,
    /// Changes if the queue delivers nothing to this subscription.
    resubscribe: watch::Receiver<u64>,
    is_open: bool,
}

impl Drop for ProbedSubscription {
    fn drop(&mut self) {
        self.close();
    }
}

impl ProbedSubscription {
    fn close(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.probe.state().subscriptions -= 1;
        }
    }

    /// Returns the delivery, or `None` if it was a probe.
    fn filter(&self, delivery: Delivery) -> Option<Delivery> {
        if self.probe.on_delivery(&delivery) {
            // Spawned, because the caller may drop the future that waits for the next message.
            tokio::spawn(delivery.ack());
            return None;
        }
        Some(self.probe.count(delivery))
    }
}

#[async_trait]
impl Subscription for ProbedSubscription {
    async fn next(&mut self) -> Result<Option<Delivery>, Unavailable> {
        loop {
            let next = tokio::select! {
                biased;
                next = self.subscription.next() => next,
                Ok(()) = self.resubscribe.changed() => {
                    Err(Unavailable("the queue delivers nothing to this consumer".into()))
                }
            };
            match next {
                Ok(Some(delivery)) => {
                    if let Some(delivery) = self.filter(delivery) {
                        return Ok(Some(delivery));
                    }
                }
                ended => {
                    self.close();
                    return ended;
                }
            }
        }
    }

    fn next_ready(&mut self) -> Option<Delivery> {
        loop {
            let delivery = self.subscription.next_ready()?;
            if let Some(delivery) = self.filter(delivery) {
                return Some(delivery);
            }
        }
    }

    async fn set_prefetch(&mut self, messages: u16) {
        self.subscription.set_prefetch(messages).await;
    }

    async fn cancel(&mut self) {
        self.close();
        self.subscription.cancel().await;
    }
}
