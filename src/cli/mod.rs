//! `omni-metrics`: tables, summaries, checks and joins of logs.
//!
//! A command is a variant of `Command`, whose comment is the one line about it, and a file with its `Args`,
//! its `run` and a constant `HELP` (`help::Help`: examples, the meaning of exit code 1, further variables),
//! which `help_of` names. The end of the command's help and sections of its manual page come from `HELP`.
//! A test parses each example as the shell would pass it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

mod aligned;
mod amount;
mod argument;
mod attainment;
mod attempts;
mod batch;
mod blocks;
mod by_hash;
mod causes;
mod check;
mod chosen;
mod chunks;
mod clock_report;
mod clocks;
mod compare;
mod complete;
mod compressed;
mod copies;
mod critical_path;
mod doubles;
mod export;
mod failure;
mod files;
mod fit;
mod groups;
mod help;
mod history;
mod in_the_way;
mod input;
mod invariants;
mod join;
mod joined_line;
mod joined_outputs;
mod joined_report;
mod joined_sample;
mod joined_waits;
mod json;
mod latency_bins;
mod line_counts;
mod log_file;
mod log_line;
mod log_names;
mod logs;
mod losses;
mod matching;
mod messages;
mod missing_rows;
mod numbers;
mod objectives;
mod oddities;
mod origins;
mod output;
mod own_end;
pub(crate) mod packed;
mod paint;
mod parsed;
mod parts;
mod percentile_table;
mod percentiles;
mod place;
mod quantity;
mod rates;
mod ratio;
mod reading;
mod records;
mod report;
mod request_clocks;
mod rotation;
mod run_correction;
mod run_numbers;
mod running;
mod same_ids;
mod sample_check;
mod sampling;
mod selection;
mod sentence;
mod spool;
mod stage_names;
mod stage_outputs;
mod summary;
mod tables;
mod tally;
mod text_reader;
mod timeline;
mod unjoined;
mod unknown;
mod verbatim;
mod watch;
mod what_if;
mod why;
mod wrapped;

use failure::{Failure, Result, complain};
use help::Help;
pub(crate) use packed::Packed;
pub(crate) use text_reader::Text;

/// The help of the whole program.
const HELP: Help = Help {
    examples: &[
        (
            "Several processes, each with its log: first put all rows of a request together",
            "omni-metrics join --align-clocks /var/log/pods -o joined.jsonl",
        ),
        ("The run in numbers: rates, percentiles, where the time goes", "omni-metrics summary joined.jsonl"),
        ("Why p99 is slow, and which requests were in the way", "omni-metrics why --p99 joined.jsonl"),
        (
            "What happened between 12:03 and 12:05; how many met an objective; a row for each tenant",
            "omni-metrics summary --since 12:03 --until 12:05 --slo e2e=2s --by fields.tenant joined.jsonl",
        ),
        ("Which worker is slow, without `join`", "omni-metrics summary --by stage_name,file /var/log/pods"),
        (
            "Whether the logs are complete, and which requests never ended, without `join`",
            "omni-metrics check /var/log/pods",
        ),
        ("Whether a change helped", "omni-metrics compare before.jsonl after.jsonl"),
        ("What happens at twice the rate", "omni-metrics what-if --rate 2 joined.jsonl"),
        ("One request in full, from all files", "omni-metrics tables --request req-0003 service.log*"),
        ("A running service", "omni-metrics watch service.log"),
    ],
    one: Some(
        "`check` has found a violation or a broken line, `tables --request` or `why` has found no line, or a \
         condition of `compare --fail-if` holds.",
    ),
    ..Help::NONE
};

/// The help of a command.
fn help_of(command: &str) -> &'static Help {
    match command {
        "tables" => &tables::HELP,
        "summary" => &summary::HELP,
        "check" => &check::HELP,
        "join" => &join::HELP,
        "report" => &report::HELP,
        "export" => &export::HELP,
        "compare" => &compare::HELP,
        "watch" => &watch::HELP,
        "what-if" => &what_if::HELP,
        "why" => &why::HELP,
        "completions" => &COMPLETIONS,
        "man" => &MAN,
        _ => &Help::NONE,
    }
}

const COMPLETIONS: Help = Help {
    examples: &[(
        "For bash, for this user",
        "omni-metrics completions bash >~/.local/share/bash-completion/completions/omni-metrics",
    )],
    zero: Some("Success."),
    ..Help::NONE
};

const MAN: Help = Help {
    examples: &[
        ("The manual page of `summary`", "omni-metrics man summary | man -l -"),
        ("Installs the page of the program", "omni-metrics man >~/.local/share/man/man1/omni-metrics.1"),
    ],
    zero: Some("Success."),
    ..Help::NONE
};

/// Reads the logs of services that use the omni-metrics layer.
///
/// Lines that are not the layer's are passed over, so that whatever else went to stderr may stay in. Files
/// may be compressed (gzip, xz, zstd); a directory stands for the logs in it. Without files, or for `-`,
/// standard input is read.
///
/// If the processes of a service write logs of their own, the lines of requests lack the rows of the other
/// processes until `join --align-clocks` puts them there: give its output to summary, why, report, compare
/// and what-if. Ask which process is slow (`summary --by stage_name,file`), whether lines are missing and
/// which requests never ended (check) of the logs as they are.
#[derive(Debug, Parser)]
#[command(name = "omni-metrics", version)]
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
    Check(check::Args),
    /// Puts the rows of worker processes into their requests, and writes these; the rest is reported
    Join(join::Args),
    /// Says where the time of a request, or of the slowest ones, went, compared with the median request
    Why(why::Args),
    /// Writes a page for the browser: distributions, where the time goes, and waterfalls of requests
    Report(report::Args),
    /// Writes the log for other tools: as a trace for Perfetto, or as a table of comma-separated values
    Export(export::Args),
    /// Says what changed between two logs, and how sure that is
    Compare(compare::Args),
    /// Follows a growing log, and shows its rates, percentiles and slowest requests on the terminal
    Watch(watch::Args),
    /// Predicts the run of a log with other numbers of workers, batch sizes or rates of requests
    WhatIf(what_if::Args),
    /// Prints shell completions
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Prints the manual page
    Man {
        /// The command whose page is printed; without it, that of the program
        command: Option<String>,
    },
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let args = command().try_get_matches().and_then(|matches| Args::from_arg_matches(&matches));
    let args = args.unwrap_or_else(|error| unknown::with_owners(error, &command()).exit());
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

/// The arguments of the program, with the help of each command.
fn command() -> clap::Command {
    let with_help = |command: clap::Command| help_of(command.get_name()).add_to(command);
    HELP.add_to(Args::command()).mut_subcommands(with_help)
}

fn run(command: Command, out: &mut impl Write) -> Result<ExitCode> {
    match command {
        Command::Tables(args) => tables::run(&args, out),
        Command::Summary(args) => summary::run(&args, out),
        Command::Check(args) => {
            // Until the end it writes violations only.
            check::run(&args, out).map_err(|failure| match failure {
                Failure::Hangup(_) => Failure::Hangup(ExitCode::from(1)),
                other => other,
            })
        }
        Command::Join(args) => join::run(&args, out),
        Command::Report(args) => report::run(&args, out),
        Command::Why(args) => why::run(args, out),
        Command::Export(args) => export::run(&args, out),
        Command::Compare(args) => compare::run(&args, out),
        Command::Watch(args) => watch::run(&args, out),
        Command::WhatIf(args) => what_if::run(&args, out),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut self::command(), "omni-metrics", &mut script);
            out.write_all(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { command } => {
            let mut whole = self::command();
            whole.build();
            let (help, page) = match &command {
                None => (&HELP, Some(&whole)),
                Some(name) => (help_of(name), whole.find_subcommand(name)),
            };
            let unknown = || {
                let name = command.as_deref().unwrap_or_default();
                Failure::Io(format!("there is no command `{name}`"))
            };
            help.render_manual(page.ok_or_else(unknown)?.clone(), out)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands of a command line, as lists of words. Quotes are around whole words only.
    fn commands(line: &str) -> Vec<Vec<String>> {
        let (mut commands, mut is_quoted) = (vec![vec![String::new()]], false);
        for c in line.chars() {
            let words = commands.last_mut().unwrap();
            match c {
                '\'' => is_quoted = !is_quoted,
                '|' | '>' | '&' if !is_quoted => commands.push(vec![String::new()]),
                ' ' if !is_quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        commands.iter_mut().for_each(|words| words.retain(|word| !word.is_empty()));
        commands
    }

    #[test]
    fn every_command_has_examples_and_every_example_can_be_given() {
        let commands: Vec<_> =
            Args::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for help in commands.iter().map(|command| help_of(command)).chain([&HELP]) {
            assert!(!help.examples.is_empty(), "{commands:?}");
            for (_, line) in help.examples {
                let ours = |words: &Vec<String>| words.first().is_some_and(|word| word == "omni-metrics");
                let ours: Vec<_> = self::commands(line).into_iter().filter(ours).collect();
                assert!(!ours.is_empty(), "{line}");
                for words in ours {
                    assert!(command().try_get_matches_from(words).is_ok(), "{line}");
                }
            }
        }
    }
}
