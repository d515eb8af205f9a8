//! Trials: a suspected activity is processed alone, and the trial is recorded in the store before
//! it begins. So an activity that ends its worker dies alone, and an activity that was only near a
//! crash is stored.
//!
//! Nothing else counts: no requeue, no restart, no lost connection.

use tracing::warn;
use trailpad_common::failure::{Cause, Failure, Reason, Unavailable};
use trailpad_common::id::ActivityId;
use trailpad_common::queue::Delivery;
use trailpad_common::queue::dead_letter;
use trailpad_common::queue::envelope::Envelope;
use trailpad_common::runtime::lifecycle::Phase;
use trailpad_common::timestamp::Timestamp;

use crate::batch_processor::{BatchProcessor, requeue_all};
use crate::decode::{Contents, Failed, read};
use crate::storer::{Origin, Storer};

/// After this many trials that did not end, what was tried alone is what ends its worker.
const UNENDED_TRIALS_MAX: u32 = 2;

impl BatchProcessor {
    /// Tries suspected messages one after the other, and settles each.
    pub async fn try_alone(&self, suspected: Vec<Delivery>) {
        let _alone = self.alone.write().await;
        let mut waiting = suspected;
        while let Some(delivery) = waiting.last() {
            match self.storer.try_message(delivery).await {
                Ok(()) => {
                    if let Some(delivery) = waiting.pop() {
                        delivery.ack().await;
                    }
                }
                Err(why) => {
                    self.store_health.report_down(&why);
                    if !self.may_try_again().await {
                        return requeue_all(waiting).await;
                    }
                }
            }
        }
    }

    /// Waits for the store. Returns `false` if the messages must be returned to the queue.
    async fn may_try_again(&self) -> bool {
        tokio::select! {
            () = self.store_health.is_up() => true,
            () = tokio::time::sleep(self.storer.settings.hold_max) => false,
            () = self.lifecycle.reached(Phase::Draining) => false,
        }
    }
}

impl Storer {
    /// Tries a message as a whole at first, and then reads it and tries each of its activities.
    async fn try_message(&self, delivery: &Delivery) -> Result<(), Unavailable> {
        let message = ActivityId::of_unreadable(&delivery.body);
        let unended = self.store.begin_trial(message).await?;
        warn!(redeliveries = delivery.redeliveries, unended, "trying a message alone");
        let outcome = if unended == 0 {
            let contents = read(std::slice::from_ref(delivery));
            self.store(&contents, Origin::Queue).await
        } else {
            self.try_each(message, delivery).await
        };
        self.end_trial(message, outcome).await
    }

    async fn try_each(&self, message: ActivityId, delivery: &Delivery) -> Result<(), Unavailable> {
        let reading = ActivityId::of_unreadable(message.uuid().as_bytes());
        let unended = self.store.begin_trial(reading).await?;
        if unended >= UNENDED_TRIALS_MAX {
            let mut letter =
                dead_letter::of_unreadable(&delivery.body, ended(unended), Timestamp::now());
            letter.reason = Reason::PoisonMessage;
            let recorded = self.store.record_failures(&[], &[letter]).await;
            return self.end_trial(reading, recorded).await;
        }
        let Contents { envelopes, unreadable } = read(std::slice::from_ref(delivery));
        self.store.end_trial(reading).await?;
        for envelope in envelopes {
            self.try_activity(envelope, Origin::Queue).await?;
        }
        self.record(Vec::new(), &unreadable, Origin::Queue).await
    }

    /// Processes one activity alone. Nothing else may be in process.
    pub async fn try_activity(
        &self,
        envelope: Envelope<'_>,
        origin: Origin,
    ) -> Result<(), Unavailable> {
        let id = envelope.id;
        let unended = self.store.begin_trial(id).await?;
        if unended >= UNENDED_TRIALS_MAX {
            let cause = Cause { reason: Reason::PoisonMessage, error: ended(unended) };
            let failure = Failure::Permanent(cause);
            let failed = Failed { envelope, member_email: None, failure };
            return self.record(vec![failed], &[], origin).await;
        }
        let contents = Contents { envelopes: vec![envelope], unreadable: Vec::new() };
        let stored = self.store(&contents, origin).await;
        self.end_trial(id, stored).await
    }

    /// Ends a trial whatever its outcome: only a trial that its worker did not survive stays open.
    async fn end_trial(
        &self,
        id: ActivityId,
        outcome: Result<(), Unavailable>,
    ) -> Result<(), Unavailable> {
        self.store.end_trial(id).await?;
        outcome
    }
}

fn ended(unended: u32) -> String {
    format!("its worker ended during {unended} trials that processed it alone")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::{ORDINARY, ScriptedStore, envelope, storer};

    /// The number of stored activities, and the dead letter, after a trial that `unended` preceded.
    async fn after_trials(unended: u32) -> (usize, Option<(Reason, String)>) {
        let store = Arc::new(ScriptedStore { unended, ..ScriptedStore::default() });
        let tried = storer(store.clone()).try_activity(envelope(1, ORDINARY), Origin::Queue).await;
        assert_eq!(tried, Ok(()));
        let dead = store.dead.lock().expect("the lock should not be poisoned");
        let dead = dead.first().map(|letter| (letter.reason, letter.error.clone()));
        (store.stored().len(), dead)
    }

    #[tokio::test]
    async fn an_activity_is_poison_after_two_trials_that_did_not_end() {
        assert_eq!(after_trials(0).await, (1, None));
        assert_eq!(after_trials(1).await, (1, None));
        let error = "its worker ended during 2 trials that processed it alone".to_owned();
        assert_eq!(after_trials(2).await, (0, Some((Reason::PoisonMessage, error))));
    }
}
