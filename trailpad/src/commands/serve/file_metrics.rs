//! Metrics of the embedded files.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGaugeVec, Opts, Registry};
use trailpad_common::runtime::metrics::FILES_WAL_BYTES;
use trailpad_engines::sqlite::DataDir;

/// Exports the sizes of the write-ahead logs; they are read for each scrape.
///
/// # Errors
/// The registry already contains the metric.
pub fn register(registry: &Registry, data_dir: DataDir) -> prometheus::Result<()> {
    let options = Opts::new(FILES_WAL_BYTES.name, FILES_WAL_BYTES.help);
    let log_bytes = IntGaugeVec::new(options, &["file"])?;
    registry.register(Box::new(FileMetrics { data_dir, log_bytes }))
}

struct FileMetrics {
    data_dir: DataDir,
    log_bytes: IntGaugeVec,
}

impl Collector for FileMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.log_bytes.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (file, bytes) in self.data_dir.log_bytes() {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.log_bytes.with_label_values(&[file]).set(bytes);
        }
        self.log_bytes.collect()
    }
}
