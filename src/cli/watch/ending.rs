//! What ends the view: a key, a signal, or the end of the terminal.

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

/// How long a signal waits for the view before it ends the process: a write to a stopped terminal blocks.
const GRACE: Duration = Duration::from_secs(1);
/// What a terminal in raw mode sends for Ctrl-C and Escape.
const INTERRUPT: u8 = 0x03;
const ESCAPE: u8 = 0x1b;

/// Why the view ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
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
pub(super) fn listen() -> io::Result<mpsc::Receiver<End>> {
    let (send, ends) = mpsc::channel();
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let signalled = send.clone();
    thread::spawn(move || {
        let Some(end) = signals.forever().next().map(End::Signal) else { return };
        let _ = signalled.send(end);
        thread::sleep(GRACE);
        let _ = terminal::disable_raw_mode();
        process::exit(end.status());
    });
    // The event reader of `crossterm` never returns after the end of its input, so keys are read here.
    let mut keyboard: Box<dyn Read + Send> = match io::stdin().is_terminal() {
        true => Box::new(io::stdin()),
        false => Box::new(File::open("/dev/tty")?),
    };
    thread::spawn(move || send.send(await_key(&mut keyboard)));
    Ok(ends)
}

/// Waits for a key that ends the view, or for the end of the terminal.
fn await_key(keyboard: &mut impl Read) -> End {
    let mut keys = [0; 64];
    loop {
        match keyboard.read(&mut keys) {
            Ok(0) => return End::HangUp,
            Ok(length) => {
                let pressed = keys.get(..length).unwrap_or_default();
                // An escape with more bytes behind it is another key, such as an arrow.
                if pressed == [ESCAPE] || pressed.iter().any(|key| matches!(*key, b'q' | INTERRUPT)) {
                    return End::Key;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return End::HangUp,
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
    fn some_keys_and_the_end_of_the_keyboard_end_the_view() {
        for (keys, end) in [
            (&[&b"q"[..]][..], End::Key),
            (&[b"x", b"\x03"], End::Key),
            (&[b"\x1b[A", b"\x1b"], End::Key),
            (&[b"\x1b[A", b"x"], End::HangUp),
            (&[], End::HangUp),
        ] {
            assert_eq!(await_key(&mut Keyboard(keys)), end, "{keys:?}");
        }
    }
}
