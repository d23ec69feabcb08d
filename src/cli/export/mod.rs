//! `export`: the log for other tools, as a trace or as a table.

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use super::{
    failure::{Failure, Result, complain},
    files::Files,
    groups::{By, GroupArgs, Grouping},
    help::Help,
    input::Inputs,
    json, output,
};

mod chrome;
mod exported;
mod lanes;
mod table;
mod trace;

use exported::{Counted, Exported, Written};
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
            "The slowest request alone: its id",
            "omni-metrics why --slowest --json service.log | jq -r .request_id",
        ),
        (
            "And the trace of the request with this id",
            "omni-metrics export --format chrome --where 'request_id == \"r7\"' service.log -o trace.json",
        ),
        (
            "A trace with processes of its own for each model",
            "omni-metrics export --format chrome --by fields.model service.log -o trace.json",
        ),
        (
            "A table with a row for each request and stage",
            "omni-metrics export --format csv --table stages service.log -o stages.csv",
        ),
        (
            "A table of requests with columns for the model and the minute",
            "omni-metrics export --format csv --by fields.model --every 1m service.log -o requests.csv",
        ),
        (
            "How many rows the table has",
            "omni-metrics export --json --format csv service.log -o requests.csv | jq .rows",
        ),
    ],
    note: Some(
        "With --by or --every, csv has the columns `group` and `from` (where the stretch of time begins); \
         with --by, chrome has processes of its own for each group. --every has no meaning for chrome, whose \
         axis is the time, and --by stage_name and --by stage_id only for the table of stages, since a \
         request or a transfer has several stages.",
    ),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What to write
    #[arg(long)]
    format: Format,
    /// For csv: what each row of the table is about
    #[arg(long, value_name = "ROWS", default_value = "requests")]
    table: Table,
    /// Where to write; without it, to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The report on the output as one line of JSON: to standard output with -o, else to stderr
    ///
    /// It has the format, the table and its rows, or the slices and flows of the trace, the bytes, and the
    /// lines that were read or left out. Example:
    /// `omni-metrics export --json --format csv FILE -o requests.csv | jq .rows`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    groups: GroupArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A trace in Chrome's format (JSON): a process for each stage and edge, with as many lanes as needed
    Chrome,
    /// Comma-separated values, with the names of the numbers in the first line
    Csv,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let Args { files, output, .. } = args;
    let grouping = args.groups.grouping().unwrap_or_default();
    args.refuse(&grouping)?;
    let mut inputs = Inputs::new(files)?;
    let (written, bytes) = match output {
        None => args.write(&grouping, &mut inputs, out)?,
        Some(path) => {
            inputs.refuse_output(path)?;
            output::write(path, |file| args.write(&grouping, &mut inputs, file))?
        }
    };
    inputs.warn_of_doubles();
    grouping.by.iter().flat_map(By::missing).for_each(|missing| complain(&missing));
    if args.json {
        let exported = Exported::new(written, bytes, inputs.read);
        match output {
            Some(_) => json::write(out, &exported)?,
            // If stderr is closed, it is lost, as sentences are.
            None => drop(json::write(&mut anstream::stderr(), &exported)),
        }
    }
    Ok(inputs.exit_code(0))
}

impl Args {
    /// Refuses options that have no meaning together.
    fn refuse(&self, grouping: &Grouping) -> Result<()> {
        let refused = match self.format {
            Format::Chrome if self.output.is_none() && io::stdout().is_terminal() => {
                "the trace is not for a terminal; name a file for it, `-o FILE`, or send it to one, `> FILE`"
            }
            Format::Chrome if grouping.width.is_some() => {
                "--every has no meaning for a trace, whose axis is the time; it is for csv"
            }
            Format::Chrome if grouping.is_of_stages() => {
                "a trace has processes of its own for each stage without --by"
            }
            Format::Csv if !self.table.has_groups(grouping) => {
                "a row of this table has several stages; add --table stages, or group by another key"
            }
            _ => return Ok(()),
        };
        Err(Failure::Io(refused.to_owned()))
    }

    /// Returns the counts of the output, and its length in bytes.
    fn write(
        &self,
        grouping: &Grouping,
        inputs: &mut Inputs,
        out: &mut impl Write,
    ) -> Result<(Written, u64)> {
        let mut out = Counted::new(out);
        let written = match self.format {
            Format::Chrome => chrome::write(grouping.by.as_ref(), inputs, &mut out)?,
            Format::Csv => {
                let rows = table::write(self.table, grouping, inputs, &mut out)?;
                Written::Csv { table: self.table, rows }
            }
        };
        Ok((written, out.bytes))
    }
}
