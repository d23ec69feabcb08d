//! The reader on a terminal: the live view, and colours.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use omni_metrics::{Clock, MockClock, OmniMetricsLayer};
use portable_pty::{Child, CommandBuilder, MasterPty, PtyPair, PtySize, native_pty_system};
use tracing::info_span;
use tracing_subscriber::{prelude::*, registry};

const READER: &str = env!("CARGO_BIN_EXE_reader");
const PIPELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/pipeline.jsonl");
const SIZE: PtySize = PtySize { rows: 48, cols: 120, pixel_width: 0, pixel_height: 0 };
/// How long a key that is pressed has until it is pressed again.
const PRESS: Duration = Duration::from_millis(50);

/// A program on a terminal.
struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    output: mpsc::Receiver<Vec<u8>>,
    screen: vt100::Parser,
    raw: Vec<u8>,
}

impl Terminal {
    fn run(program: &str, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let pair = native_pty_system().openpty(SIZE).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.cwd(env!("CARGO_MANIFEST_DIR"));
        for variable in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            command.env_remove(variable);
        }
        command.env("TERM", "xterm-256color");
        variables.iter().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        let (mut reader, keys) =
            (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        let (send, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                send.send(buffer[..length].to_vec()).ok();
            }
        });
        let screen = vt100::Parser::new(SIZE.rows, SIZE.cols, 0);
        Self { master: pair.master, keys, child, output, screen, raw: Vec::new() }
    }

    fn take(&mut self) {
        if let Ok(bytes) = self.output.recv_timeout(PRESS) {
            self.put(&bytes);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.raw.extend(bytes);
    }

    fn text(&self) -> String {
        self.screen.screen().contents()
    }

    /// Waits until the screen shows all of the texts.
    fn shows(&mut self, texts: &[&str]) -> String {
        while !texts.iter().all(|text| self.text().contains(text)) {
            match self.output.recv() {
                Ok(bytes) => self.put(&bytes),
                Err(_) => panic!("no {texts:?} in\n{}", self.text()),
            }
        }
        self.text()
    }

    fn press(&mut self, key: &[u8]) {
        self.keys.write_all(key).unwrap();
    }

    fn ends(&mut self) -> u32 {
        self.ends_at(b"")
    }

    /// Presses a key until the program ends: one that comes with a change of size waits for the next.
    fn ends_at(&mut self, key: &[u8]) -> u32 {
        loop {
            // The terminal may be gone already.
            let _ = self.keys.write_all(key);
            self.take();
            if let Some(status) = self.child.try_wait().unwrap() {
                self.take();
                return status.exit_code();
            }
        }
    }
}

/// A log, and a service that writes to it. Its clock begins now, and stands still but in requests.
struct Service {
    path: PathBuf,
    file: Arc<Mutex<File>>,
    clock: MockClock,
    subscriber: tracing::Dispatch,
}

/// The origin of the mock clock.
const ORIGIN: Duration = Duration::from_secs(1_769_860_800);

impl Service {
    fn at(path: &Path) -> Self {
        let open = OpenOptions::new().create(true).append(true).open(path).unwrap();
        let file = Arc::new(Mutex::new(open));
        let written = Arc::clone(&file);
        let writer = move || written.lock().unwrap().try_clone().unwrap();
        let (layers_clock, clock) = Clock::mock();
        clock.advance(SystemTime::now().duration_since(UNIX_EPOCH + ORIGIN).unwrap());
        let layer = OmniMetricsLayer::new().with_writer(writer).with_clock(layers_clock);
        Self { path: path.to_owned(), file, clock, subscriber: registry().with(layer).into() }
    }

    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_file(&path);
        Self::at(&path)
    }

    fn request(&self, id: &str, millis: u64) {
        tracing::dispatcher::with_default(&self.subscriber, || {
            info_span!("request", request_id = id).in_scope(|| {
                info_span!("stage", stage_id = 3, num_tokens_out = 60)
                    .in_scope(|| self.clock.advance(Duration::from_millis(millis)));
            });
        });
    }

    fn raw(&self, text: &str) {
        self.file.lock().unwrap().write_all(text.as_bytes()).unwrap();
    }
}

#[test]
fn watch_shows_what_is_written_while_it_runs() {
    let service = Service::new("watched.jsonl");
    service.request("fast-one", 1);
    let mut terminal = Terminal::run(READER, &["watch", service.path.to_str().unwrap()], &[]);
    terminal.shows(&[": 1 request", "fast-one", "requests a second", "last 1m", "stage 3"]);
    service.request("slow-one", 40_000);
    service.raw("somebody else's line\n{\"type\":\"request\",\"schema\":1,\"cut\n");
    let text = terminal.shows(&["2 requests", "> slow-one", "1 foreign line", "1 broken line"]);
    assert!(text.find("slow-one").unwrap() < text.find("fast-one").unwrap(), "{text}");
    assert!(text.contains("tokens/s") && text.contains("40,000.000"), "{text}");

    // Half a line is a line once it is whole.
    let line =
        fs::read_to_string(&service.path).unwrap().lines().next().unwrap().replace("fast-one", "half-one");
    let (begin, end) = line.split_at(100);
    service.raw(&format!("another line\n{begin}"));
    terminal.shows(&["2 requests", "2 foreign lines"]);
    service.raw(&format!("{end}\n"));
    terminal.shows(&["3 requests", "half-one", "1 broken line"]);

    // A log that is rotated goes on in a new file.
    fs::rename(&service.path, service.path.with_extension("1")).unwrap();
    service.request("last-of-the-old", 1);
    let rotated = Service::at(&service.path);
    rotated.request("first-of-the-new", 1);
    terminal.shows(&["5 requests", "last-of-the-old", "first-of-the-new"]);
    rotated.raw(&format!("{}\n", "a long line ".repeat(200)));
    terminal.shows(&["3 foreign lines"]);
    rotated.file.lock().unwrap().set_len(0).unwrap();
    rotated.request("after-the-cut", 1);
    terminal.shows(&["6 requests", "after-the-cut"]);

    terminal.master.resize(PtySize { rows: 20, cols: 60, ..SIZE }).unwrap();
    assert_eq!(terminal.ends_at(b"q"), 0);
    assert!(!terminal.screen.screen().alternate_screen(), "the terminal is as it was");
}

#[test]
fn watch_reads_a_pipe_and_takes_keys_all_the_same() {
    let command = format!("cat {PIPELINE} | {READER} watch");
    let mut terminal = Terminal::run("sh", &["-c", &command], &[]);
    terminal.shows(&["standard input, at its end: 40 requests", "stage 0", "stage 2"]);
    terminal.keys.write_all(b"\x03").unwrap();
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn watch_opens_the_selected_request_stands_still_and_changes_the_period() {
    let service = Service::new("chosen.jsonl");
    service.request("fast-one", 1);
    service.request("slow-one", 5_000);
    let mut terminal = Terminal::run(READER, &["watch", service.path.to_str().unwrap()], &[]);
    terminal.shows(&["> slow-one", "  fast-one", "last 1m"]);
    terminal.press(b"\x1b[B");
    terminal.shows(&["> fast-one"]);
    terminal.press(b"\r");
    let text = terminal.shows(&["fast-one took 1.000 ms", "Where the time went", "StageRequestStats"]);
    assert!(!text.contains("slow-one"), "{text}");
    terminal.press(b"\x1b");
    terminal.shows(&["> fast-one", "  slow-one"]);
    terminal.press(b"s");
    terminal.shows(&["time_ms v"]);
    terminal.press(b" ");
    terminal.shows(&["PAUSED"]);
    service.request("later-one", 1);
    terminal.press(b"+");
    let text = terminal.shows(&["PAUSED", "last 5m", ": 2 requests"]);
    assert!(!text.contains("later-one"), "{text}");
    terminal.press(b" ");
    terminal.shows(&["3 requests", "later-one"]);
    terminal.press(b"?");
    terminal.shows(&["only failed requests, or all"]);
    terminal.press(b"q");
    assert_eq!(terminal.ends(), 0);
}

#[cfg(unix)]
#[test]
fn watch_that_is_terminated_leaves_the_terminal_as_it_was() {
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        let mut terminal = Terminal::run(READER, &["watch", PIPELINE], &[]);
        terminal.shows(&["40 requests"]);
        let id = terminal.child.process_id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
        assert_eq!(terminal.ends(), code, "{signal}");
        assert!(!terminal.screen.screen().alternate_screen() && !terminal.screen.screen().hide_cursor());
    }
}

/// Reads what a terminal shows until there is a text on it, then hangs up.
#[cfg(unix)]
fn hang_up_at(text: &str, master: Box<dyn MasterPty + Send>) {
    let mut reader = master.try_clone_reader().unwrap();
    let mut screen = vt100::Parser::new(SIZE.rows, SIZE.cols, 0);
    let mut buffer = [0; 4096];
    while !screen.screen().contents().contains(text) {
        let length = reader.read(&mut buffer).unwrap();
        screen.process(&buffer[..length]);
    }
}

#[cfg(unix)]
#[test]
fn watch_ends_with_its_terminal() {
    let PtyPair { slave, master } = native_pty_system().openpty(SIZE).unwrap();
    let mut command = CommandBuilder::new(READER);
    command.args(["watch", PIPELINE]);
    command.cwd(env!("CARGO_MANIFEST_DIR"));
    let mut child = slave.spawn_command(command).unwrap();
    drop(slave);
    hang_up_at("40 requests", master);
    assert_eq!(child.wait().unwrap().exit_code(), 129);
}

#[cfg(target_os = "linux")]
#[test]
fn watch_ends_with_its_terminal_though_no_signal_says_so() {
    use std::os::unix::fs::OpenOptionsExt;

    const O_NOCTTY: i32 = 0o400;
    let PtyPair { slave, master } = native_pty_system().openpty(SIZE).unwrap();
    let name = master.tty_name().unwrap();
    let open = || OpenOptions::new().read(true).write(true).custom_flags(O_NOCTTY).open(&name).unwrap();
    // It is not the terminal of the child's session, so that the kernel sends no SIGHUP.
    let mut child = std::process::Command::new(READER)
        .args(["watch", PIPELINE])
        .stdin(open())
        .stdout(open())
        .stderr(open())
        .spawn()
        .unwrap();
    drop(slave);
    hang_up_at("40 requests", master);
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(129), "{status}");
}

#[test]
fn watch_says_what_it_needs() {
    let compressed = Path::new(env!("CARGO_TARGET_TMPDIR")).join("watched.gz");
    fs::write(&compressed, [0x1f, 0x8b, 8, 0]).unwrap();
    for (args, said) in [
        (&["watch"][..], "watch needs a FILE, or a log on standard input"),
        (&["watch", "/no/such/file"], "cannot read /no/such/file"),
        (&["watch", "tests"], "cannot read tests: is a directory"),
        (&["watch", compressed.to_str().unwrap()], "it is compressed"),
    ] {
        let mut terminal = Terminal::run(READER, args, &[]);
        terminal.shows(&[said]);
        assert_eq!(terminal.ends(), 2);
    }
    let output = std::process::Command::new(READER).args(["watch", PIPELINE]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("watch needs a terminal"));
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    for (variables, is_coloured) in
        [(&[][..], true), (&[("NO_COLOR", "1")], false), (&[("TERM", "dumb")], false)]
    {
        let mut terminal = Terminal::run(READER, &["summary", PIPELINE], variables);
        assert_eq!(terminal.ends(), 0);
        terminal.shows(&["Slowest requests", "Finish reasons"]);
        assert_eq!(terminal.raw.contains(&0x1b), is_coloured, "{variables:?}");
    }
    let piped = std::process::Command::new(READER).args(["summary", PIPELINE]).output().unwrap();
    assert!(!piped.stdout.contains(&0x1b));
}

#[test]
fn a_report_is_not_written_to_a_terminal() {
    let mut terminal = Terminal::run(READER, &["report", PIPELINE], &[]);
    assert_eq!(terminal.ends(), 2);
    let text = terminal.shows(&["the page is not for a terminal", "`-o FILE`", "`> FILE`"]);
    assert!(!text.contains("<html"), "{text}");
}

const UNREAD_TERMINAL: &str = "a_terminal_that_nobody_reads_makes_no_thread_wait";

#[cfg(unix)]
#[test]
fn a_terminal_that_nobody_reads_makes_no_thread_wait() {
    if std::env::var("OMNI_METRICS_INSIDE").as_deref() == Ok(UNREAD_TERMINAL) {
        let layer = OmniMetricsLayer::new();
        let handle = layer.handle();
        registry().with(layer).init();
        let note = "x".repeat(800);
        for _ in 0..4_000 {
            drop(info_span!("request", note));
        }
        let snapshot = handle.snapshot();
        std::process::exit(if snapshot.lines_written > 0 && snapshot.lines_lost > 0 { 0 } else { 3 });
    }
    let pty = native_pty_system().openpty(SIZE).unwrap();
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args([UNREAD_TERMINAL, "--exact", "--nocapture", "--test-threads=1"]);
    command.env("OMNI_METRICS_INSIDE", UNREAD_TERMINAL);
    let mut process = pty.slave.spawn_command(command).unwrap();
    assert!(process.wait().unwrap().success());
}
