//! `omni-metrics`: tables, summaries, checks and joins of logs.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

mod amount;
mod check;
mod chunks;
mod complete;
mod failure;
mod files;
mod history;
mod input;
mod invariants;
mod join;
mod joined_outputs;
mod joined_waits;
mod json;
mod line_counts;
mod numbers;
mod paint;
mod parsed;
mod parts;
mod place;
mod report;
mod running;
mod stage_outputs;
mod summary;
mod tables;
mod tally;
mod text_reader;
mod verbatim;
mod watch;

use failure::{Failure, Result, complain};
use files::Files;
use input::Inputs;
pub(crate) use text_reader::Text;

/// The exit codes, at the end of the help.
const EXIT_CODES: &str = "\
Exit codes: 0 if all is well; 1 if `check` finds a violation or a broken line, or if `tables --request` \
finds no line; 2 if a file can't be read or written, if no file has a line of omni-metrics (all are empty, \
foreign or broken), or if lines have a schema that this reader does not know. Those, and broken lines, are \
left out, and named on stderr.";

/// Reads the logs of services that use the omni-metrics layer.
///
/// Lines that are not the layer's are passed over, so that whatever else went to stderr may stay in.
/// Files may be compressed (gzip). Without files, or for `-`, standard input is read.
#[derive(Debug, Parser)]
#[command(name = "omni-metrics", version, after_help = EXIT_CODES)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints requests as text tables
    Tables(tables::Args),
    /// Prints rates, percentiles, where the time goes, and the slowest requests
    Summary(summary::Args),
    /// Verifies every line: exit code 1 and a sentence for each violation or broken line, 2 for unusable
    /// input
    Check(Files),
    /// Puts the rows of worker processes into their requests, and writes these; the rest is named on stderr
    Join(Files),
    /// Writes a page for the browser: distributions, where the time goes, and waterfalls of requests
    Report(report::Args),
    /// Follows a growing log, and shows its rates, percentiles and slowest requests on the terminal
    Watch(watch::Args),
    /// Prints shell completions
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Prints the manual page
    Man {
        /// Of one of the commands
        command: Option<String>,
    },
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let mut out = io::BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()));
    let outcome = run(args.command, &mut out).and_then(|code| match out.flush().map_err(Failure::from) {
        Err(Failure::Hangup(_)) => Err(Failure::Hangup(code)),
        flushed => flushed.map(|()| code),
    });
    match outcome {
        Ok(code) | Err(Failure::Hangup(code)) => code,
        Err(Failure::Io(message)) => {
            complain(&message);
            ExitCode::from(2)
        }
    }
}

fn run(command: Command, out: &mut impl Write) -> Result<ExitCode> {
    match command {
        Command::Tables(args) => tables::run(&args, out),
        Command::Summary(args) => summary::run(&args, out),
        Command::Check(files) => {
            // Until the end it writes violations only.
            check::run(Inputs::new(&files.files), out).map_err(|failure| match failure {
                Failure::Hangup(_) => Failure::Hangup(ExitCode::from(1)),
                other => other,
            })
        }
        Command::Join(files) => join::run(Inputs::new(&files.files), out),
        Command::Report(args) => report::run(&args, out),
        Command::Watch(args) => watch::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "omni-metrics", &mut script);
            out.write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { command } => {
            let mut whole = Args::command();
            whole.build();
            let page = match &command {
                None => Some(&whole),
                Some(name) => whole.find_subcommand(name),
            };
            let unknown = || Failure::Io("there is no such command".to_owned());
            clap_mangen::Man::new(page.ok_or_else(unknown)?.clone()).render(out)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
