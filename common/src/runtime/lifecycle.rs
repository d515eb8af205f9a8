//! Shutdown phases of a role, and its readiness.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Running,
    /// The role accepts no new work and finishes its current work.
    Draining,
    /// The drain deadline has passed: the role requeues its unfinished work.
    Stopping,
}

/// Moves all roles of a process through the phases.
pub struct Lifecycle(watch::Sender<Phase>);

/// A role's view of the current phase.
#[derive(Clone)]
pub struct LifecycleWatch(watch::Receiver<Phase>);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }
}

impl Lifecycle {
    pub fn watch(&self) -> LifecycleWatch {
        LifecycleWatch(self.0.subscribe())
    }

    /// Enters a phase; a later phase is never left for an earlier phase.
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
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// `true` if the role must not accept new work.
    pub fn is_draining(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// Waits for `phase` or a later one.
    pub async fn reached(&self, phase: Phase) {
        // An error means that the sender is dropped: the process is ending anyway.
        let _ = self.0.clone().wait_for(|current| *current >= phase).await;
    }
}

/// State of a dependency of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    /// The reason, for operators.
    Down(String),
}

pub type HealthWatch = watch::Receiver<Health>;

/// The named dependencies that a role needs to be ready.
#[derive(Clone)]
pub struct Readiness {
    parts: Vec<(&'static str, HealthWatch)>,
    lifecycle: LifecycleWatch,
}

impl Readiness {
    /// The role is ready while every part is up and it is not draining.
    pub fn new(lifecycle: LifecycleWatch, parts: Vec<(&'static str, HealthWatch)>) -> Self {
        Self { parts, lifecycle }
    }

    /// Returns the reasons why the role is not ready; empty if it is ready.
    pub fn reasons(&self) -> Vec<String> {
        let draining = self.lifecycle.is_draining().then(|| "shutting down".to_owned());
        let down = self.parts.iter().filter_map(|(name, health)| match &*health.borrow() {
            Health::Up => None,
            Health::Down(reason) => Some(format!("{name}: {reason}")),
        });
        let mut reasons: Vec<String> = draining.into_iter().chain(down).collect();
        // Roles of one process share parts, which would repeat a reason.
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
    fn a_later_phase_is_never_left_for_an_earlier_phase() {
        let lifecycle = Lifecycle::default();
        lifecycle.enter(Phase::Stopping);
        lifecycle.enter(Phase::Draining);
        assert_eq!(lifecycle.watch().phase(), Phase::Stopping);
    }
}
