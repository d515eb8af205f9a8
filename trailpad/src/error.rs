//! Why a command failed, as the sentence it leaves behind.

use std::io;
use std::net::SocketAddr;

/// A command's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is wrong; every fault of it.
    #[error("the configuration is wrong:\n{}", list(.0))]
    Config(Vec<String>),
    /// An operation was not carried out.
    #[error("{0}")]
    Admin(#[from] trailpad_common::admin::AdminError),
    /// The store or the queue is away.
    #[error("{0}")]
    Unavailable(#[from] trailpad_common::failure::Unavailable),
    /// The AMQP URL is none.
    #[error("{0}")]
    AmqpUrl(#[from] trailpad_engines::rabbitmq::BadUrl),
    /// A replay ended early.
    #[error("{0}")]
    Replay(#[from] trailpad_common::admin::replay::ReplayError),
    /// The data directory can't be used.
    #[error("{0}")]
    DataDir(#[from] trailpad_engines::sqlite::DataDirError),
    /// The gateway could not start.
    #[error("{0}")]
    Gateway(#[from] trailpad_gateway::StartError),
    /// The dashboard could not start.
    #[error("{0}")]
    Dashboard(#[from] trailpad_dashboard::StartError),
    /// The worker broke.
    #[error("{0}")]
    Worker(#[from] trailpad_worker::Broken),
    /// A metric is registered twice.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The system refused something.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Something that has a sentence of its own.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// An address that can't be bound.
    pub fn listen(address: SocketAddr, error: &io::Error) -> Self {
        Self::Other(format!("can't listen on {address}: {error}"))
    }

    /// The exit code: 2 for a wrong configuration, as for wrong arguments; 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Config(_)) { 2 } else { 1 }
    }
}

fn list(faults: &[String]) -> String {
    faults.iter().map(|fault| format!("  - {fault}")).collect::<Vec<_>>().join("\n")
}
