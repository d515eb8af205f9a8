//! Arguments that several commands share. Values that need more than clap's own parsing stay words
//! here: `config` reads the words of a role, `parse` those of a command.

mod bounds;
mod engines;
pub mod parse;

use clap::Args;

pub use bounds::{DrainArgs, GatewayBounds, WorkerBounds};
pub use engines::{DatabaseArgs, QueueArgs, StoreArgs};

/// Arguments of every command that reads or changes the store.
#[derive(Args)]
#[command(next_help_heading = None)]
pub struct CommandArgs {
    /// Print JSON, for programs
    #[arg(long, env = "TRAILPAD_JSON")]
    pub json: bool,
    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Args)]
pub struct WorkspaceArg {
    /// The workspace's name
    #[arg(long, env = "TRAILPAD_WORKSPACE")]
    pub workspace: String,
}

/// The default is the gateway's; each other role sets its own with `mut_arg`, so that all of them
/// can run on one machine.
#[derive(Args)]
#[command(next_help_heading = None)]
pub struct OpsListen {
    /// The address for /livez, /readyz and /metrics; keep it private
    #[arg(
        long,
        env = "TRAILPAD_OPS_LISTEN",
        default_value = "127.0.0.1:9081",
        value_name = "ADDRESS"
    )]
    pub ops_listen: String,
}

#[derive(Args)]
#[command(next_help_heading = None)]
pub struct UrlArgs {
    /// The URL under which senders reach the gateway
    #[arg(
        long,
        env = "TRAILPAD_PUBLIC_URL",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub public_url: String,
}

#[derive(Args)]
#[command(next_help_heading = "Dashboard")]
pub struct PagesArgs {
    /// The address the dashboard listens on; port 0 picks a free port
    #[arg(
        long,
        env = "TRAILPAD_DASHBOARD_LISTEN",
        default_value = "127.0.0.1:8090",
        value_name = "ADDRESS"
    )]
    pub dashboard_listen: String,
    /// The URL under which people reach the dashboard [default: the address it listens on]; with
    /// https, its cookies are sent over TLS only
    #[arg(long, env = "TRAILPAD_DASHBOARD_URL", value_name = "URL")]
    pub dashboard_url: Option<String>,
    /// The header, such as X-Forwarded-For, to which the proxy in front of the dashboard appends
    /// the client's address; failed password attempts are counted per address [default: none,
    /// without a proxy]
    #[arg(long, env = "TRAILPAD_CLIENT_ADDRESS_HEADER", value_name = "NAME")]
    pub client_address_header: Option<String>,
}
