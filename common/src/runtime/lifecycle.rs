//! How a role ends, and how it says whether it is ready.

use tokio::sync::watch;

/// Where a role is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It works.
    Running,
    /// It takes nothing new and finishes what is in hand.
    Draining,
    /// The deadline has passed: what is still in hand is handed back.
    Stopping,
}

/// Moves the roles of a process through their phases.
pub struct Lifecycle(watch::Sender<Phase>);

/// A role's view of the phase it is in.
#[derive(Clone)]
pub struct LifecycleWatch(watch::Receiver<Phase>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }
}

impl Lifecycle {
    /// A view for a role.
    pub fn watch(&self) -> LifecycleWatch {
        LifecycleWatch(self.0.subscribe())
    }

    /// Enters a phase; there is no way back.
    pub fn enter(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let forward = phase > *current;
            if forward {
                *current = phase;
            }
            forward
        });
    }
}

impl LifecycleWatch {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Whether nothing new is to be taken.
    pub fn is_draining(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// Waits for `phase` or a later one.
    pub async fn reached(&self, phase: Phase) {
        // An error means that the process is ending anyway.
        let _ = self.0.clone().wait_for(|current| *current >= phase).await;
    }
}

/// Whether something a role needs is there, with the reason where it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works.
    Up,
    /// It does not: why, in words for an operator.
    Down(String),
}

/// A view of a [`Health`] as it changes.
pub type HealthWatch = watch::Receiver<Health>;

/// What a role needs to be ready, by name.
#[derive(Clone)]
pub struct Readiness {
    parts: Vec<(&'static str, HealthWatch)>,
    lifecycle: LifecycleWatch,
}

impl Readiness {
    /// Ready while every part is up and the role is not draining.
    pub fn new(lifecycle: LifecycleWatch, parts: Vec<(&'static str, HealthWatch)>) -> Self {
        Self { parts, lifecycle }
    }

    /// What keeps the role from being ready; empty: it is ready.
    pub fn reasons(&self) -> Vec<String> {
        let draining = self.lifecycle.is_draining().then(|| "shutting down".to_owned());
        let down = self.parts.iter().filter_map(|(name, health)| match &*health.borrow() {
            Health::Up => None,
            Health::Down(why) => Some(format!("{name}: {why}")),
        });
        let mut reasons: Vec<String> = draining.into_iter().chain(down).collect();
        // Roles of one process share parts.
        reasons.dedup();
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_ready_while_its_parts_are_up_and_it_is_not_draining() {
        let lifecycle = Lifecycle::default();
        let (queue, health) = watch::channel(Health::Down("connecting".into()));
        let readiness = Readiness::new(lifecycle.watch(), vec![("queue", health)]);
        assert_eq!(readiness.reasons(), ["queue: connecting"]);
        queue.send_replace(Health::Up);
        assert!(readiness.reasons().is_empty());
        lifecycle.enter(Phase::Draining);
        assert_eq!(readiness.reasons(), ["shutting down"]);
    }

    #[test]
    fn a_phase_is_never_left_backwards() {
        let lifecycle = Lifecycle::default();
        lifecycle.enter(Phase::Stopping);
        lifecycle.enter(Phase::Draining);
        assert_eq!(lifecycle.watch().phase(), Phase::Stopping);
    }
}
