//! The reader of the logs that the layer writes.

use std::process::ExitCode;

fn main() -> ExitCode {
    omni_metrics::cli::main()
}
