//! Why a command failed. The one place where an error of the binary becomes text.

use std::io;
use std::net::SocketAddr;

use trailpad_common::admin::{AdminError, Missing, replay};
use trailpad_common::check::CheckError;
use trailpad_common::failure::{Unavailable, chain};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every fault of the configuration.
    #[error("the configuration is invalid:\n{}", list(.0))]
    Config(Vec<String>),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A fault of the store that waiting does not repair.
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Replay(#[from] replay::ReplayError),
    #[error(transparent)]
    DataDir(#[from] trailpad_engines::sqlite::DataDirError),
    #[error(transparent)]
    Backup(#[from] trailpad_engines::sqlite::BackupError),
    #[error(
        "the store is PostgreSQL: back it up with pg_basebackup or pg_dump; \
         this command copies the embedded files of `trailpad serve`"
    )]
    BackupOfPostgres,
    #[error(transparent)]
    Gateway(#[from] trailpad_gateway::StartError),
    #[error(transparent)]
    Dashboard(#[from] trailpad_dashboard::StartError),
    #[error(transparent)]
    Worker(#[from] trailpad_worker::Broken),
    #[error("can't listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("can't register the metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("can't export traces to {endpoint}")]
    OtlpEndpoint { endpoint: String, source: opentelemetry_otlp::ExporterBuildError },
    #[error("no response from {address}")]
    NoResponse { address: String, source: io::Error },
    /// The answer of `/readyz`, with its reasons.
    #[error("not ready: {0}")]
    NotReady(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// 2 for an invalid configuration, as for invalid arguments; 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Config(_)) { 2 } else { 1 }
    }

    /// The error with its sources, and the command that helps.
    pub fn text(&self) -> String {
        let text = chain(self);
        match self.hint() {
            Some(hint) => format!("{text}: {hint}"),
            None => text,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        let Self::Admin(AdminError::NotFound(missing)) = self else { return None };
        match missing {
            Missing::Workspace(_) => Some("create it with `trailpad workspace create`"),
            Missing::Project { .. } => Some("create it with `trailpad project create`"),
            Missing::Member(_) => Some("add them with `trailpad member add`"),
            Missing::Webhook(_) => Some("`trailpad webhook list` shows all webhooks"),
            Missing::DeadLetter(_) => Some("`trailpad dead-letter list --all` shows all of them"),
            Missing::ProjectId | Missing::ProjectOrMember | Missing::Activity(_) => None,
        }
    }
}

fn list(faults: &[String]) -> String {
    faults.iter().map(|fault| format!("  - {fault}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_workspace_names_the_command_that_creates_it() {
        let error = Error::from(AdminError::from(Missing::Workspace("Acme".into())));
        assert_eq!(
            error.text(),
            "there is no workspace named \"Acme\": create it with `trailpad workspace create`"
        );
    }

    #[test]
    fn the_sources_of_an_error_are_reported_once() {
        let unavailable = Unavailable("PostgreSQL does not answer".into());
        let error = Error::from(AdminError::from(unavailable));
        assert_eq!(error.text(), "the store is unavailable: PostgreSQL does not answer");
    }
}
