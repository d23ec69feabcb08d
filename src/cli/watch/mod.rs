//! `watch`: a growing log, live on the terminal, or as a line of JSON a second.

use std::{
    io::{self, IsTerminal, Write},
    mem,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, TryRecvError},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    failure::{Failure, Result, complain},
    groups::{By, Grouping},
    help::Help,
    log_names::log_names,
    objectives::Objectives,
    percentiles::{PercentileArgs, with_default},
    selection::{Selection, SelectionArgs},
};
use crate::write::columns::printable;

mod app;
mod bucket;
mod clock;
mod controls;
mod figures;
mod follow;
mod groups;
mod guide;
mod head;
mod keys;
mod lines;
mod log;
mod outside;
mod period;
mod plan;
mod row;
mod slowest;
mod tables;
mod times;
mod view;

use app::App;
use clock::{TICK, now};
use follow::{AHEAD, Lines, Read, follow, open, read_all};
use log::Log;
use outside::{End, Event, listen};
use period::Period;

#[cfg(test)]
mod tests;

pub(super) const HELP: Help = Help {
    examples: &[
        ("A log that is being written, also when it is rotated", "omni-metrics watch service.log"),
        ("The stderr of a program", "service 2>&1 | omni-metrics watch"),
        (
            "How many requests of the last five minutes met their objectives",
            "omni-metrics watch --window 5m --slo e2e=2s --slo first_output@code2wav=400ms@99% service.log",
        ),
        ("The requests of one model", "omni-metrics watch --where 'fields.model == \"x\"' service.log"),
        (
            "The p99 of the last minute, every ten seconds",
            "omni-metrics watch --json --every 10s service.log | jq .window.percentiles.e2e_total_ms.p99",
        ),
        (
            "The models with the most requests of the last minute",
            "omni-metrics watch --by fields.model service.log",
        ),
        (
            "The rate of each model in the last minute",
            "omni-metrics watch --json --by fields.model service.log | jq -c '.groups[] | [.group, .per_s]'",
        ),
    ],
    zero: Some("Success. Broken lines are skipped, and counted."),
    two: Some("Or no request has a value for an objective of `--slo` when the input ends."),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
#[command(mut_arg("percentiles", |arg| with_default(arg, "50,90,99")))]
pub(super) struct Args {
    /// A log that is being written; without it, or for `-`, standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The period that the figures cover: 1s to 5m up to now, or `all` for the whole log
    #[arg(long, value_name = "SPAN", default_value = "1m")]
    window: Period,
    /// Instead of the view, a line of JSON every second, with the keys of the layer's reports
    #[arg(long)]
    json: bool,
    /// How often --json writes a line
    ///
    /// Each line has the figures of the --window up to its moment, not of the time since the line before.
    #[arg(long, value_name = "SPAN", default_value = "1s", requires = "json", value_parser = every)]
    every: Duration,
    /// A group for each value: finish_reason, error, request_id, stage_name, stage_id, file, fields.NAME
    ///
    /// The view has their table in place of that of times, and --json has `groups`, with the keys of
    /// `summary --json --by`. Keys are those of `summary`; of several keys, a group for each combination. At
    /// most 256 groups, in the order of their names; the others are combined as `others`. Example:
    /// `omni-metrics watch --json --by fields.model FILE`
    #[arg(long, value_name = "KEYS", value_parser = By::parse, help_heading = "Groups")]
    by: Option<By>,
    #[command(flatten)]
    percentiles: PercentileArgs,
    #[command(flatten)]
    objectives: Objectives,
    #[command(flatten)]
    selection: SelectionArgs,
}

fn every(text: &str) -> std::result::Result<Duration, String> {
    let every = humantime::parse_duration(text).ok();
    let every =
        every.filter(|every| (Duration::from_millis(100)..=Duration::from_secs(86_400)).contains(every));
    every.ok_or_else(|| "expected a time from 100ms to 1d".to_owned())
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    if !args.json && !io::stdout().is_terminal() {
        return Err(Failure::Io(
            "watch needs a terminal; for a pipe there is `--json`, and for a log as it stands `summary`"
                .to_owned(),
        ));
    }
    let path = args.file.clone().filter(|path| path != Path::new("-"));
    if path.is_none() && io::stdin().is_terminal() {
        return Err(Failure::Io("watch needs a FILE, or a log on standard input".to_owned()));
    }
    if let Some(by) = &args.by {
        Grouping { by: Some(by.clone()), width: None }.check(&args.objectives)?;
    }
    // A log that grows ends now.
    let selection = Arc::new(Selection::of(&args.selection, &[])?);
    let source = path.as_ref().map_or("standard input".to_owned(), |path| path.display().to_string());
    let source = printable(&source).into_owned();
    let log = Log::new(source.clone(), &args.objectives, args.by.as_ref(), now());
    let log = log.with_percentiles(args.percentiles.clone());
    let lines = start(path, &source, &selection)?;
    let outcome = match args.json {
        true => lines::write(&lines, log, args.window, args.every, &selection, out),
        false => show(&lines, App::new(log, args.window)),
    };
    selection.remarks().iter().for_each(|remark| complain(remark));
    outcome
}

fn unreadable(source: &str, error: &io::Error) -> Failure {
    Failure::Io(format!("cannot read {source}: {error}"))
}

/// Reads a log in a thread of its own.
fn start(
    path: Option<PathBuf>,
    source: &str,
    selection: &Arc<Selection>,
) -> Result<mpsc::Receiver<io::Result<Read>>> {
    let (send, lines) = mpsc::sync_channel(AHEAD);
    let names = log_names(&[path.as_deref().unwrap_or(Path::new("-"))]);
    let log_name = names.into_iter().next().unwrap_or_default();
    let to = Lines { send: send.clone(), selection: Arc::clone(selection), log_name };
    let follow: Box<dyn FnOnce() -> io::Result<()> + Send> = match path {
        Some(path) => {
            let log = open(&path).map_err(|error| unreadable(source, &error))?;
            match log.metadata().map_err(|error| unreadable(source, &error))?.is_file() {
                true => Box::new(move || follow(&path, log, &to)),
                false => Box::new(move || read_all(log, &to)),
            }
        }
        None => Box::new(move || read_all(io::stdin(), &to)),
    };
    thread::spawn(move || follow().or_else(|error| send.send(Err(error)).map_err(drop)));
    Ok(lines)
}

/// Shows the view until a key, a signal or the terminal ends it.
fn show(lines: &mpsc::Receiver<io::Result<Read>>, mut app: App) -> Result<ExitCode> {
    let events = listen()?;
    let mut terminal = ratatui::try_init()?;
    let outcome = loop {
        if let Err(error) = take(lines, &mut app) {
            break Err(error);
        }
        // A terminal that takes no output has hung up.
        if terminal.draw(|frame| app.draw(frame, now())).is_err() {
            break Ok(End::HangUp);
        }
        match events.recv_timeout(TICK) {
            Ok(Event::Pressed(key)) if app.press(key, now()) => {}
            Ok(Event::Pressed(_)) => break Ok(End::Key),
            Ok(Event::End(end)) => break Ok(end),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break Ok(End::HangUp),
        }
    };
    if terminal.show_cursor().is_err() {
        // Its destructor would try the same, and panic where stderr has hung up as well.
        mem::forget(terminal);
    }
    let restored = ratatui::try_restore();
    match outcome? {
        End::Key => restored.map(|()| ExitCode::SUCCESS).map_err(Failure::from),
        // What is left in the buffer of a terminal that has hung up goes nowhere.
        end => Err(Failure::Hangup(end.exit_code())),
    }
}

/// Takes the lines that have been read, but not all of an old log at once, so that the view is drawn in
/// between.
fn take(lines: &mpsc::Receiver<io::Result<Read>>, app: &mut App) -> Result<()> {
    let begin = Instant::now();
    while begin.elapsed() < TICK {
        match lines.try_recv() {
            Ok(Ok(read)) => app.add(read, now()),
            Ok(Err(error)) => return Err(unreadable(app.source(), &error)),
            Err(TryRecvError::Empty) => break,
            Err(TryRecvError::Disconnected) => {
                app.end();
                break;
            }
        }
    }
    Ok(())
}
