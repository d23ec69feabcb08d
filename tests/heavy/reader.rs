//! The reader of logs, as `omni-metrics` has it.

use std::process::ExitCode;

fn main() -> ExitCode {
    omni_metrics::cli::main()
}
