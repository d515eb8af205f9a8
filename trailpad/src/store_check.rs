//! The check of the store at the start of a role.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use trailpad_common::check::{CheckError, StoreUser};
use trailpad_common::failure::Unavailable;
use trailpad_common::runtime::backoff::Backoff;
use trailpad_common::runtime::lifecycle::{Health, HealthWatch};
use trailpad_common::store::StoreBackend;

use crate::error::Error;

const FIRST_WAIT: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// A check that found no fault so far. While the store is unavailable the check is open, and the
/// role is not ready.
pub struct StoreCheck {
    store: Arc<dyn StoreBackend>,
    user: StoreUser,
    health: watch::Sender<Health>,
}

impl StoreCheck {
    /// Checks once.
    ///
    /// # Errors
    /// A fault that only a person can repair.
    pub async fn begin(store: Arc<dyn StoreBackend>, user: StoreUser) -> Result<Self, Error> {
        let health = match store.check(user).await {
            Ok(()) => Health::Up,
            Err(CheckError::Unavailable(Unavailable(reason))) => {
                tracing::warn!(reason, "the store is unavailable and not checked yet");
                Health::Down(reason)
            }
            Err(fault) => return Err(fault.into()),
        };
        Ok(Self { store, user, health: watch::Sender::new(health) })
    }

    pub fn health(&self) -> (&'static str, HealthWatch) {
        ("store (check at the start)", self.health.subscribe())
    }

    /// Runs the role, and repeats an open check until it can be made.
    ///
    /// # Errors
    /// The error of the role, or a fault of the store, which ends the role.
    pub async fn run(self, role: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        tokio::select! {
            ended = role => ended,
            fault = self.fault() => Err(fault.into()),
        }
    }

    /// Returns only a fault.
    async fn fault(&self) -> CheckError {
        let mut backoff = Backoff::new(FIRST_WAIT, WAIT_MAX);
        while *self.health.borrow() != Health::Up {
            tokio::time::sleep(backoff.next_wait()).await;
            match self.store.check(self.user).await {
                Ok(()) => {
                    tracing::info!("the store is available and checked");
                    self.health.send_replace(Health::Up);
                }
                Err(CheckError::Unavailable(Unavailable(reason))) => {
                    self.health.send_replace(Health::Down(reason));
                }
                Err(fault) => return fault,
            }
        }
        std::future::pending().await
    }
}
