//! What a view hears from outside: keys, signals, and the end of the terminal.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    process::{self, ExitCode},
    sync::mpsc,
    thread,
    time::Duration,
};

use ratatui::crossterm::terminal;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use super::keys::{Key, keys};

/// How long a signal waits for the view before it ends the process: a write to a stopped terminal blocks.
const GRACE: Duration = Duration::from_secs(1);

/// What happened outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Pressed(Key),
    End(End),
}

/// Why the view ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A key was pressed that ends it.
    Key,
    Signal(i32),
    /// The terminal has hung up.
    HangUp,
}

impl End {
    /// As a shell reports it: 128 and the number of the signal.
    pub(super) fn exit_code(self) -> ExitCode {
        match self {
            Self::Key => ExitCode::SUCCESS,
            Self::Signal(_) | Self::HangUp => ExitCode::from(self.status() as u8),
        }
    }

    const fn status(self) -> i32 {
        match self {
            Self::Key => 0,
            Self::Signal(signal) => 128 + signal,
            Self::HangUp => 128 + SIGHUP,
        }
    }
}

/// Listens to the keyboard and to signals, in threads of their own.
pub(super) fn listen() -> io::Result<mpsc::Receiver<Event>> {
    let (send, events) = mpsc::channel();
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let signalled = send.clone();
    thread::spawn(move || {
        let Some(end) = signals.forever().next().map(End::Signal) else { return };
        let _ = signalled.send(Event::End(end));
        thread::sleep(GRACE);
        let _ = terminal::disable_raw_mode();
        process::exit(end.status());
    });
    // The event reader of `crossterm` never returns after the end of its input, so keys are read here.
    let mut keyboard: Box<dyn Read + Send> = match io::stdin().is_terminal() {
        true => Box::new(io::stdin()),
        false => Box::new(File::open("/dev/tty")?),
    };
    thread::spawn(move || read_keys(&mut keyboard, &send));
    Ok(events)
}

/// Sends keys until the terminal ends, or nobody receives them any more.
fn read_keys(keyboard: &mut impl Read, send: &mpsc::Sender<Event>) {
    let mut bytes = [0; 64];
    loop {
        match keyboard.read(&mut bytes) {
            Ok(length @ 1..) => {
                // A sequence comes in one piece, so a lone escape is a key.
                for key in keys(bytes.get(..length).unwrap_or_default()) {
                    if send.send(Event::Pressed(key)).is_err() {
                        return;
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => {
                let _ = send.send(Event::End(End::HangUp));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each element is what one read gives.
    struct Keyboard<'a>(&'a [&'a [u8]]);

    impl Read for Keyboard<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((keys, rest)) = self.0.split_first() else { return Ok(0) };
            self.0 = rest;
            buffer[..keys.len()].copy_from_slice(keys);
            Ok(keys.len())
        }
    }

    #[test]
    fn keys_are_sent_in_order_and_then_the_end_of_the_keyboard() {
        let (send, events) = mpsc::channel();
        read_keys(&mut Keyboard(&[b"x", b"\x1b[A", b"\x1b"]), &send);
        drop(send);
        let pressed = [Key::Char('x'), Key::Up, Key::Escape].map(Event::Pressed);
        let expected = pressed.into_iter().chain([Event::End(End::HangUp)]);
        assert_eq!(events.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}
