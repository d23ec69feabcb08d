//! Simulates a fleet whose processes write real logs, and compares joined logs with what really happened.
//!
//! ```sh
//! omni_fleet run --out fleet
//! omni-metrics join fleet/*.jsonl >joined.jsonl
//! omni_fleet check fleet/truth.json joined.jsonl
//! ```

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Parser;
use omni_fleet::{Result, Settings, check, run};
use omni_metrics::Keep;

/// Simulates a fleet whose processes write real logs
#[derive(Debug, Parser)]
#[command(name = "omni_fleet", version)]
enum Args {
    /// Write the logs of a fleet, one a process, and what really happened
    Run {
        /// The same seed gives the same logs
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many requests clients send
        #[arg(long, value_name = "N", default_value_t = 3_000)]
        requests: u64,
        /// How many requests come in a second
        #[arg(long, value_name = "N", default_value_t = 100.0)]
        rate: f64,
        /// How many processes there are
        #[arg(long, value_name = "N", default_value_t = 64)]
        processes: usize,
        /// How often a process dies and is started again
        #[arg(long, value_name = "N", default_value_t = 24)]
        restarts: u64,
        /// By how much the wall clock of a process is off, at most
        #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = humantime::parse_duration)]
        max_offset: Duration,
        /// Of every process, keep one in N requests, and all that failed or took more than a second; without it,
        /// keep all
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        keep_one_in: Option<u32>,
        /// The true time at the start
        #[arg(long, value_name = "TIME", default_value = "2026-02-01T00:00:00Z", value_parser = humantime::parse_rfc3339)]
        start: SystemTime,
        /// Directory for the logs
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Compare joined logs with what really happened
    Check {
        /// What really happened
        truth: PathBuf,
        /// What `omni-metrics join` makes of the logs
        joined: PathBuf,
    },
}

/// Requests that took longer are kept in any case.
const SLOW: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match perform(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            // There is nowhere else to say it.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(args: Args) -> Result<ExitCode> {
    match args {
        Args::Run { seed, requests, rate, processes, restarts, max_offset, keep_one_in, start, out } => {
            let keep = keep_one_in.map_or_else(Keep::all, |n| Keep::one_in(n).failed().slower_than(SLOW));
            let settings = Settings { seed, requests, rate, processes, restarts, max_offset, keep, start };
            let logs = run(&settings, &out)?;
            writeln!(io::stdout(), "{} logs in {}", logs.len(), out.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Args::Check { truth, joined } => {
            let findings = check(&truth, &joined)?;
            write!(io::stdout(), "{findings}")?;
            Ok(if findings.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
