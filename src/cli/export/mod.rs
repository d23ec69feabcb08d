//! `export`: the log for other tools, as a trace or as a table.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::{
    failure::{Failure, Result},
    files::Files,
    help::Help,
    input::Inputs,
};

mod chrome;
mod lanes;
mod table;
mod trace;

use table::Table;

pub(super) const HELP: Help = Help {
    examples: &[
        (
            "A trace for https://ui.perfetto.dev or chrome://tracing",
            "omni-metrics export --format chrome service.log -o trace.json",
        ),
        (
            "Two minutes of it",
            "omni-metrics export --format chrome --since 12:03 --until 12:05 service.log -o trace.json",
        ),
        (
            "A table with a row for each request and stage",
            "omni-metrics export --format csv --table stages service.log -o stages.csv",
        ),
    ],
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// What to write
    #[arg(long)]
    format: Format,
    /// For csv: what each row of the table is about
    #[arg(long, value_name = "ROWS", default_value = "requests")]
    table: Table,
    /// Where to write; without it, to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A trace in Chrome's format (JSON): a process for each stage and edge, with as many lanes as needed
    Chrome,
    /// Comma-separated values, with the names of the numbers in the first line
    Csv,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let Args { files, format, table, output } = args;
    if output.is_none() && *format == Format::Chrome && io::stdout().is_terminal() {
        let instead = "name a file for it, `-o FILE`, or send it to one, `> FILE`";
        return Err(Failure::Io(format!("the trace is not for a terminal; {instead}")));
    }
    let mut inputs = Inputs::new(files)?;
    match output {
        None => write(*format, *table, &mut inputs, out)?,
        Some(path) => {
            let cannot = |error: io::Error| Failure::Io(format!("cannot write {}: {error}", path.display()));
            let mut file = BufWriter::new(File::create(path).map_err(cannot)?);
            write(*format, *table, &mut inputs, &mut file)?;
            file.flush().map_err(cannot)?;
        }
    }
    inputs.warn_of_doubles();
    Ok(inputs.exit_code(0))
}

fn write(format: Format, table: Table, inputs: &mut Inputs, out: &mut impl Write) -> Result<()> {
    match format {
        Format::Chrome => chrome::write(inputs, out),
        Format::Csv => table::write(table, inputs, out),
    }
}
