//! Turns the words of the command line into settings. Every fault is found and reported at once,
//! with its flag and its variable.

mod engines;
mod environment;
mod faults;
mod settings;

use crate::args::{QueueArgs, StoreArgs};
use crate::error::Error;
pub use engines::{EngineConfig, QueueConfig, StoreConfig};
pub use environment::warn_of_unknown_variables;
pub use faults::Faults;
pub use settings::PagesConfig;

/// Reads the engines of a command that works on the store only.
pub fn store_of_command(store: &StoreArgs) -> Result<EngineConfig, Error> {
    let mut faults = Faults::default();
    let engines = faults.store_of_command(store);
    faults.finish(engines)
}

/// Reads the engines of a command that also publishes.
pub fn engines_of_command(store: &StoreArgs, queue: &QueueArgs) -> Result<EngineConfig, Error> {
    let mut faults = Faults::default();
    let engines = faults.engines_of_command(store, queue);
    faults.finish(engines)
}
