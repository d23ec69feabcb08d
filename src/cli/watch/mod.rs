//! `watch`: a growing log, live on the terminal.

use std::{
    io::{self, IsTerminal},
    mem,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
};

use super::{
    failure::{Failure, Result},
    help::Help,
    selection::{Selection, SelectionArgs},
};
use crate::write::text::printable;

mod clock;
mod ending;
mod follow;
mod minute;
mod view;

use clock::{TICK, now};
use ending::{End, listen};
use follow::{AHEAD, follow, open, read_all};
use view::View;

pub(super) const HELP: Help = Help {
    examples: &[
        ("A log that is being written, also when it is rotated", "omni-metrics watch service.log"),
        ("The stderr of a program", "service 2>&1 | omni-metrics watch"),
    ],
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A log that is being written; without it, or for `-`, standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    selection: SelectionArgs,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    if !io::stdout().is_terminal() {
        return Err(Failure::Io(
            "watch needs a terminal; for a file or a pipe there is `summary`".to_owned(),
        ));
    }
    let path = args.file.clone().filter(|path| path != Path::new("-"));
    if path.is_none() && io::stdin().is_terminal() {
        return Err(Failure::Io("watch needs a FILE, or a log on standard input".to_owned()));
    }
    let source = path.as_ref().map_or("standard input".to_owned(), |path| path.display().to_string());
    let source = printable(&source).into_owned();
    let unreadable = |error: io::Error| Failure::Io(format!("cannot read {source}: {error}"));
    let (send, lines) = mpsc::sync_channel(AHEAD);
    let follow: Box<dyn FnOnce() -> io::Result<()> + Send> = match path {
        Some(path) => {
            let log = open(&path).map_err(unreadable)?;
            let send = send.clone();
            match log.metadata().map_err(unreadable)?.is_file() {
                true => Box::new(move || follow(&path, log, &send)),
                false => Box::new(move || read_all(log, &send)),
            }
        }
        None => {
            let send = send.clone();
            Box::new(move || read_all(io::stdin(), &send))
        }
    };
    thread::spawn(move || follow().or_else(|error| send.send(Err(error)).map_err(drop)));

    // What is still written ends now.
    let selection = Selection::of(&args.selection, &[])?;
    let ends = listen()?;
    let mut terminal = ratatui::try_init()?;
    let mut view = View::new(source.clone(), selection);
    let outcome = loop {
        if let Err(error) = view.take(&lines) {
            break Err(unreadable(error));
        }
        // A terminal that takes no output has hung up.
        if terminal.draw(|frame| view.draw(frame, now())).is_err() {
            break Ok(End::HangUp);
        }
        match ends.recv_timeout(TICK) {
            Ok(end) => break Ok(end),
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
