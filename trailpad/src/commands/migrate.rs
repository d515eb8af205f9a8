//! `trailpad migrate`

use clap::Args;

use crate::args::StoreArgs;
use crate::config::{self, StoreConfig};
use crate::engines::Engines;
use crate::error::Error;

#[derive(Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    store: StoreArgs,
}

pub async fn run(args: &MigrateArgs) -> Result<(), Error> {
    let config = config::store_of_command(&args.store)?;
    let is_on_files = matches!(config.store, StoreConfig::Files);
    let engines = Engines::new(config);
    let applied =
        if is_on_files { engines.migrate().await? } else { engines.store.migrate().await? };
    if applied.is_empty() {
        println!("The schema is up to date.");
    }
    for migration in applied {
        println!("Applied {migration}.");
    }
    Ok(())
}
