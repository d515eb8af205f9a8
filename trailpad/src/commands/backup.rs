//! `trailpad backup`: copies the data directory while `serve` runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use trailpad_engines::sqlite::Backup;

use crate::args::CommandArgs;
use crate::config::{self, StoreConfig};
use crate::error::Error;
use crate::render;

/// A backup that takes less than this shows no progress.
const SILENT: Duration = Duration::from_millis(500);

#[derive(Args)]
pub struct BackupArgs {
    /// The directory to create; it appears when the backup is complete
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
    #[command(flatten)]
    args: CommandArgs,
}

pub async fn run(args: BackupArgs) -> Result<(), Error> {
    let BackupArgs { directory, args } = args;
    let config = config::store_of_command(&args.store)?;
    if matches!(config.store, StoreConfig::Postgres(_)) {
        return Err(Error::BackupOfPostgres);
    }
    let backup = Backup::begin(&config.data_dir, &directory)?;
    let bar = render::progress_of_bytes("copying", backup.bytes());
    let finished = tokio::task::spawn_blocking({
        let bar = bar.clone();
        move || backup.finish(|bytes| show(&bar, bytes))
    });
    let files = finished.await.map_err(std::io::Error::from)??;
    bar.finish_and_clear();

    let json = serde_json::json!({
        "directory": directory,
        "files": files.iter()
            .map(|(file, bytes)| serde_json::json!({ "file": file, "bytes": bytes }))
            .collect::<Vec<_>>(),
    });
    let sizes: Vec<String> =
        files.iter().map(|(file, bytes)| format!("{file} ({})", render::mib(*bytes))).collect();
    let sentence = format!("Wrote {} to {}.", sizes.join(" and "), directory.display());
    render::sentence(args.json, &json, &sentence);
    Ok(())
}

fn show(bar: &ProgressBar, bytes: u64) {
    if bar.elapsed() >= SILENT {
        bar.set_position(bytes);
    }
}
