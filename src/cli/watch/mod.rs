//! `watch`: a growing log, live on the terminal.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use signal_hook::consts::{SIGHUP, SIGTERM};

use super::{Failure, Result};
use crate::text::printable;

mod follow;
mod view;

use follow::{follow, open, read_all};
use view::View;

/// How often the view is drawn, and a file is looked at for more.
const TICK: Duration = Duration::from_millis(200);
/// How many lines the view is behind before the reader waits.
const AHEAD: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A log that is being written; without it, or for `-`, standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
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

    let is_terminated = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_terminated))?;
    }
    let mut terminal = ratatui::try_init()?;
    let mut view = View::new(source.clone());
    let outcome = loop {
        if let Err(error) = view.take(&lines) {
            break Err(unreadable(error));
        }
        if let Err(error) = terminal.draw(|frame| view.draw(frame, now())) {
            break Err(error.into());
        }
        match is_to_quit() {
            _ if is_terminated.load(Ordering::Relaxed) => break Ok(ExitCode::from(128 + SIGTERM as u8)),
            Ok(false) => {}
            Ok(true) => break Ok(ExitCode::SUCCESS),
            Err(error) => break Err(error.into()),
        }
    };
    ratatui::try_restore()?;
    outcome
}

fn is_to_quit() -> io::Result<bool> {
    if !event::poll(TICK)? {
        return Ok(false);
    }
    let Event::Key(key) = event::read()? else { return Ok(false) };
    let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let is_quit = matches!(key.code, KeyCode::Char('q') | KeyCode::Esc);
    Ok(key.kind == KeyEventKind::Press && (is_interrupt || is_quit))
}

/// Microseconds since the Unix epoch.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_micros().try_into().unwrap_or(u64::MAX)
}
