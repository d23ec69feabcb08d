//! The reader against a `json` loop in Python that computes the same: how many lines a second. Needs
//! `python3`; run with `cargo bench --features cli --bench reader`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use omni_metrics::OmniMetricsLayer;
use tracing_subscriber::{layer::SubscriberExt, registry};

#[path = "../workload/mod.rs"]
#[allow(dead_code, reason = "the by-hand half of it is not needed here")]
mod workload;

const LINES: usize = 200_000;
const ROUNDS: usize = 7;
const READER: &str = env!("CARGO_BIN_EXE_omni-metrics");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/reader/same_sums.py");

fn main() {
    let log = write_log();
    println!(
        "{LINES} lines, {} MB; medians of {ROUNDS} rounds, half the distance between quartiles beside",
        size(&log)
    );
    println!("| command | lines a second | the same in Python | ratio | spread |\n|---|---|---|---|---|");
    for command in ["summary", "check"] {
        let (mut ours, mut python, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let our_time = seconds(Command::new(READER).arg(command).arg(&log));
            let python_time = seconds(Command::new("python3").arg(SCRIPT).arg(command).arg(&log));
            ours.push(LINES as f64 / our_time);
            python.push(LINES as f64 / python_time);
            ratios.push(python_time / our_time);
        }
        let (ratio, spread) = median(&mut ratios);
        println!(
            "| {command} | {:.0} | {:.0} | {ratio:.1} | ±{spread:.1} |",
            median(&mut ours).0,
            median(&mut python).0
        );
    }
    let _ = fs::remove_file(log);
}

/// The log of a service, written by the layer.
fn write_log() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reader.jsonl");
    let file = Arc::new(File::create(&path).expect("the log can be written"));
    let layer = OmniMetricsLayer::new().with_writer(file);
    tracing::subscriber::with_default(registry().with(layer), || {
        (0..LINES).for_each(|n| workload::spans(&format!("req-{n}")));
    });
    path
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len() / 1_000_000)
}

fn seconds(command: &mut Command) -> f64 {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).status().expect("both programs are installed");
    assert!(status.success(), "{command:?}");
    start.elapsed().as_secs_f64()
}

/// The median, and half the distance between the quartiles.
fn median(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
    (at(2), (at(3) - at(1)) / 2.0)
}
