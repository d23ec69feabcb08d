//! Which lines the metrics layer writes, and where to.

use std::{path::PathBuf, time::Duration};

use omni_metrics::{Keep, OmniMetricsLayer, QueueGuard, ReportGuard, SummaryGuard};
use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;

use crate::{
    log_file::LogFile,
    stages::{Result, format::FormatName},
};

/// How much may wait for the file of `--log`, in bytes. More is lost, and counted.
const QUEUE: usize = 1 << 20;

/// The options of the log.
#[derive(Debug, clap::Args)]
pub(crate) struct Logging {
    /// Write the metrics of every request to stderr, and totals and percentiles at the end
    #[arg(long)]
    log_stats: bool,
    /// What to write them as
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    format: FormatName,
    /// Append them to this file instead, from a thread of its own; SIGHUP opens the file again, for rotation
    #[arg(long, value_name = "FILE", requires = "log_stats")]
    log: Option<PathBuf>,
    /// Write the lines of one in N requests, and of all that fail, are slow or have warnings; with 0, of these only
    #[arg(long, value_name = "N", requires = "log_stats")]
    keep_one_in: Option<u32>,
    /// From which time on a request is slow
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    keep_slower: Duration,
    /// Write a report every TIME: the numbers since the last one, and a line for each request that has become old
    #[arg(long, value_name = "TIME", requires = "log_stats", value_parser = humantime::parse_duration)]
    report_every: Option<Duration>,
    /// From which age on an open request is old
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    report_older: Duration,
}

/// Ends the log when it is dropped: no more reports, the summary, and what is queued.
#[derive(Debug)]
pub(crate) struct Guards {
    // In this order, since reports and the summary go through the queue.
    _reports: Option<ReportGuard>,
    _summary: Option<SummaryGuard>,
    _queue: Option<QueueGuard>,
}

impl Logging {
    /// The layer, what to keep until the last request has closed, and the file of the log, if it has one.
    pub(crate) fn layer<S>(&self) -> Result<(OmniMetricsLayer<S>, Guards, Option<LogFile>)>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let layer = OmniMetricsLayer::new().with_format(self.format.into()).with_log_stats(self.log_stats);
        let layer = layer.with_keep(self.keep());
        let file = self.log.clone().map(LogFile::open).transpose().map_err(|error| {
            let path = self.log.clone().unwrap_or_default();
            format!("cannot write {}: {error}", path.display())
        })?;
        let (layer, queue) = match file.clone() {
            Some(file) => {
                let (layer, queue) = layer.with_queued_writer(file, QUEUE);
                (layer, Some(queue))
            }
            None => (layer, None),
        };
        let handle = layer.handle();
        let summary = self.log_stats.then(|| handle.summary_guard());
        let reports = self.report_every.map(|interval| handle.report_every(interval, self.report_older));
        Ok((layer, Guards { _reports: reports, _summary: summary, _queue: queue }, file))
    }

    fn keep(&self) -> Keep {
        match self.keep_one_in {
            None => Keep::all(),
            Some(n) => Keep::one_in(n).failed().slower_than(self.keep_slower).with_warnings(),
        }
    }
}
