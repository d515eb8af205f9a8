//! The probe: proof that the queue delivers, and not only that a connection is open.
//!
//! A worker that waits for messages cannot tell an empty queue from a queue that delivers nothing,
//! for example to a consumer that the broker lists and does not serve. So a worker that waits
//! publishes a probe every 10 s. Some worker receives each probe and acknowledges it at once; with
//! several workers, the queue serves them in turn. A worker that receives nothing although enough
//! probes were confirmed is not ready and subscribes again.
//!
//! A probe is a message without activities, so workers of every version acknowledge it.

mod prober;
mod progress;
mod queue;
mod state;

pub use queue::ProbedQueue;
