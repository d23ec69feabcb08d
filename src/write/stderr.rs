//! The stderr of the process, written so that no thread of the host waits for it.
//!
//! Lines that stderr does not take at once wait in memory, and a thread of this crate writes them when there
//! is room. The lock of the standard library's stderr is never taken, because a thread of the host may hold
//! it while it is blocked in an `eprintln!`.

use std::{
    fs::{File, Metadata},
    io::{self, Write},
    mem::ManuallyDrop,
    os::{
        fd::FromRawFd,
        unix::fs::{FileTypeExt, MetadataExt},
    },
    ptr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crate::{
    contain::contain,
    write::{
        counters::Counters,
        sink::{Outcome, Sink, lose_lines_of_this_thread},
        waiting::{Waiting, WaitingLine},
    },
};

/// How many bytes of lines may wait. A line that does not fit is lost.
const WAITING_LIMIT: usize = 1024 * 1024;
/// How long the exit of the process waits while stderr takes nothing.
const STALL_LIMIT: Duration = Duration::from_secs(1);
/// The length of one such wait. The waits are counted instead of reading a clock, so that nothing is lost if
/// the machine is suspended meanwhile.
const STALL: Duration = Duration::from_millis(50);
/// How often stderr is examined anew while it has no room: the host may have redirected it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long to wait if stderr reports room and then takes nothing.
const RETRY: Duration = Duration::from_millis(1);

/// All layers of the process share one stderr, so that a line of one does not cut a line of another.
static STDERR: Mutex<State> = Mutex::new(State {
    waiting: Waiting::new(WAITING_LIMIT),
    at: None,
    is_cut: false,
    has_thread: false,
    is_registered: false,
    stream: Stream { reopened: None },
});

/// Writes lines to stderr.
#[derive(Debug)]
pub(crate) struct Stderr;

impl Sink for Stderr {
    fn write(&self, line: &[u8], counters: &Arc<Counters>) -> Outcome {
        lock().write(line, counters)
    }
}

fn lock() -> MutexGuard<'static, State> {
    STDERR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of stderr. The lock is also held during a write, but only during one that does not wait for a
/// reader.
struct State {
    waiting: Waiting,
    /// The position in the first waiting line from which to continue, if a part of it has been written.
    at: Option<usize>,
    /// Whether the last bytes that were written are a part of a line whose rest is lost.
    is_cut: bool,
    /// Whether a thread is writing the waiting lines.
    has_thread: bool,
    /// Whether a function is registered that writes the waiting lines at the exit of the process.
    is_registered: bool,
    stream: Stream,
}

/// How much of a line was written.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    All,
    /// Stderr has no room for the rest.
    Stalled,
    Failed,
}

/// The outcome of writing the first waiting line.
enum Step {
    NoneWaits,
    Ended(WaitingLine, bool),
    /// Stderr has no room. Tells whether some bytes were written.
    Stalled(bool),
}

impl State {
    fn write(&mut self, line: &[u8], counters: &Arc<Counters>) -> Outcome {
        if self.waiting.is_empty() {
            let begin = self.beginning();
            match self.write_from(line, begin) {
                (Progress::All, _) => return Outcome::Written,
                (Progress::Failed, _) => return Outcome::Lost,
                (Progress::Stalled, at) if at > begin => {
                    self.waiting.push_always(line, counters);
                    self.at = Some(at);
                }
                (Progress::Stalled, _) => {
                    if !self.waiting.push(line, counters) {
                        return Outcome::Lost;
                    }
                }
            }
        } else if !self.waiting.push(line, counters) {
            self.have_it_written();
            return Outcome::Lost;
        }
        self.have_it_written();
        Outcome::Waits
    }

    /// The position at which to begin a line: at the line feed before it if a cut line must be ended first.
    fn beginning(&self) -> usize {
        usize::from(!self.is_cut)
    }

    /// Writes a line from a position on, as much as stderr takes without waiting. Returns the new position
    /// too.
    fn write_from(&mut self, line: &[u8], from: usize) -> (Progress, usize) {
        let (begin, stream) = (self.beginning(), &mut self.stream);
        let (progress, end) = write_line(line, from, |rest| stream.write(rest));
        match progress {
            Progress::All => self.is_cut = false,
            Progress::Failed if end > begin => self.is_cut = line.get(end - 1) != Some(&b'\n'),
            Progress::Failed | Progress::Stalled => {}
        }
        (progress, end)
    }

    /// Writes the first waiting line, as much as stderr takes.
    fn step(&mut self) -> Step {
        let Some(line) = self.waiting.pop() else { return Step::NoneWaits };
        let from = self.at.take().unwrap_or_else(|| self.beginning());
        match self.write_from(&line.text, from) {
            (Progress::All, _) => Step::Ended(line, true),
            (Progress::Failed, _) => Step::Ended(line, false),
            (Progress::Stalled, at) => {
                self.at = (at > self.beginning()).then_some(at);
                self.waiting.put_back(line);
                Step::Stalled(at > from)
            }
        }
    }

    /// Makes sure that the waiting lines will be written: by a thread, and at the exit of the process. If no
    /// thread can be started, the next line tries again.
    fn have_it_written(&mut self) {
        if !self.is_registered {
            self.is_registered = write_at_exit();
        }
        if !self.has_thread {
            self.has_thread = thread::Builder::new().name("omni-metrics".into()).spawn(write_waiting).is_ok();
        }
    }
}

/// Writes a line from a position on with `write`, which does not wait. Returns the new position too.
fn write_line(
    line: &[u8],
    from: usize,
    mut write: impl FnMut(&[u8]) -> io::Result<usize>,
) -> (Progress, usize) {
    let mut at = from;
    while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
        match write(rest) {
            Ok(taken) if taken > 0 => at += taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (Progress::Stalled, at),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return (Progress::Failed, at),
        }
    }
    (Progress::All, at)
}

/// Writes the waiting lines until there are none; run by the thread.
fn write_waiting() {
    lose_lines_of_this_thread();
    loop {
        has_room(LOOK_AGAIN);
        let mut state = lock();
        let step = state.step();
        state.has_thread = !matches!(step, Step::NoneWaits);
        drop(state);
        match step {
            Step::NoneWaits => return,
            Step::Ended(line, is_written) => line.count(is_written),
            Step::Stalled(true) => {}
            Step::Stalled(false) => thread::sleep(RETRY),
        }
    }
}

/// Writes the waiting lines at the exit of the process, as long as stderr takes some bytes. The rest is lost.
///
/// Lines are counted without calling the exporters: a panic there would print its message to stderr.
extern "C" fn at_exit() {
    contain(|| {
        let mut waited = Duration::ZERO;
        while waited < STALL_LIMIT {
            // Another thread may hold the lock while it is blocked in a write, which this one could not end.
            let Ok(mut state) = STDERR.try_lock() else {
                thread::sleep(RETRY);
                waited += RETRY;
                continue;
            };
            let step = state.step();
            drop(state);
            match step {
                Step::NoneWaits => return,
                Step::Ended(line, is_written) => {
                    line.counters.stripes.count_line(is_written);
                    waited = Duration::ZERO;
                }
                Step::Stalled(true) => waited = Duration::ZERO,
                Step::Stalled(false) if has_room(STALL) => {
                    thread::sleep(RETRY);
                    waited += RETRY;
                }
                Step::Stalled(false) => waited += STALL,
            }
        }
        if let Ok(mut state) = STDERR.try_lock() {
            state.waiting.take().iter().for_each(|line| line.counters.stripes.count_line(false));
        }
    });
}

/// Stderr, opened so that writes do not wait.
#[derive(Debug)]
struct Stream {
    /// The identity of stderr when it was last reopened, and the result of that.
    reopened: Option<(Identity, Option<File>)>,
}

/// Device, inode, and for a device file the device that it stands for.
type Identity = (u64, u64, u64);

impl Stream {
    /// Writes as many bytes as fit now; fails with [`io::ErrorKind::WouldBlock`] if none fit. A file on a
    /// disk takes all bytes, however long that lasts.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = stderr();
        let metadata = stderr.metadata()?;
        let kind = metadata.file_type();
        if !kind.is_fifo() && !kind.is_char_device() {
            // The host may have redirected a pipe, whose reader waits until every writer has closed it.
            self.reopened = None;
            return if kind.is_socket() { send(bytes) } else { (&*stderr).write(bytes) };
        }
        if let Some(mut file) = self.reopened(&metadata) {
            return file.write(bytes);
        }
        if !has_room(Duration::ZERO) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // At least this many bytes fit if there is room at all, unless another writer is faster.
        (&*stderr).write(bytes.get(..libc::PIPE_BUF).unwrap_or(bytes))
    }

    /// Reopens stderr with `O_NONBLOCK`. The flag belongs to the open file, which the host and other
    /// processes share, so it must not be set on the existing one. `None` if stderr cannot be reopened; the
    /// system may refuse it after a change of user.
    fn reopened(&mut self, metadata: &Metadata) -> Option<&File> {
        let identity = identity(metadata);
        if self.reopened.as_ref().is_none_or(|(of, _)| *of != identity) {
            let file =
                reopen().filter(|file| file.metadata().is_ok_and(|new| self::identity(&new) == identity));
            self.reopened = Some((identity, file));
        }
        self.reopened.as_ref()?.1.as_ref()
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.rdev())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn reopen() -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;

    File::options().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open("/proc/self/fd/2").ok()
}

/// On other systems, `/dev/fd/2` is the same open file.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reopen() -> Option<File> {
    None
}

/// Writes to descriptor 2 without the standard library's lock.
#[allow(unsafe_code, reason = "the standard library has no other way to a file descriptor without owning it")]
fn stderr() -> ManuallyDrop<File> {
    // SAFETY: the descriptor is not closed by this file, which is never dropped. If the host has closed it,
    // the calls fail.
    ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDERR_FILENO) })
}

/// Waits until stderr has room or has failed. Returns whether that happened.
#[allow(unsafe_code, reason = "the standard library cannot ask for room")]
fn has_room(wait: Duration) -> bool {
    let mut asked = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    let millis = wait.as_millis().try_into().unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer is to one `pollfd`, which lives until the call returns.
    let ready = unsafe { libc::poll(ptr::from_mut(&mut asked), 1, millis) };
    ready > 0
}

/// Writes to a stderr that is a socket, as under systemd, without waiting.
#[allow(unsafe_code, reason = "the standard library cannot send once without waiting")]
fn send(bytes: &[u8]) -> io::Result<usize> {
    // Apple's systems have no flag against SIGPIPE; the standard library ignores the signal.
    #[cfg(target_vendor = "apple")]
    let flags = libc::MSG_DONTWAIT;
    #[cfg(not(target_vendor = "apple"))]
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of a slice that lives until the call returns.
    let sent = unsafe { libc::send(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Registers the function that writes the waiting lines at the exit of the process. Returns whether the
/// system accepted it.
#[allow(unsafe_code, reason = "the standard library has no hook for the exit of the process")]
fn write_at_exit() -> bool {
    // SAFETY: the function may be called at any time and on any thread, and does not unwind.
    unsafe { libc::atexit(at_exit) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `write_line` makes of these answers of a write, and what was written.
    fn write(from: usize, answers: &[Result<usize, io::ErrorKind>]) -> (Progress, usize, String) {
        let (mut answers, mut written) = (answers.iter(), Vec::new());
        let (progress, end) = write_line(b"\nline\n", from, |rest| {
            let taken = answers.next().unwrap().map_err(io::Error::from)?.min(rest.len());
            written.extend_from_slice(&rest[..taken]);
            Ok(taken)
        });
        (progress, end, String::from_utf8(written).unwrap())
    }

    #[test]
    fn a_line_goes_on_where_it_stalled() {
        let (stalled, interrupted) = (Err(io::ErrorKind::WouldBlock), Err(io::ErrorKind::Interrupted));
        assert_eq!(write(1, &[Ok(9)]), (Progress::All, 6, "line\n".into()));
        assert_eq!(write(1, &[stalled]), (Progress::Stalled, 1, String::new()));
        assert_eq!(write(1, &[Ok(2), interrupted, stalled]), (Progress::Stalled, 3, "li".into()));
        assert_eq!(write(3, &[Ok(1), Ok(2)]), (Progress::All, 6, "ne\n".into()));
    }

    #[test]
    fn a_line_that_fails_says_how_much_of_it_was_written() {
        let full = Err(io::ErrorKind::StorageFull);
        assert_eq!(write(1, &[full]), (Progress::Failed, 1, String::new()));
        assert_eq!(write(1, &[Ok(2), full]), (Progress::Failed, 3, "li".into()));
        assert_eq!(write(0, &[Ok(3), Ok(0)]), (Progress::Failed, 3, "\nli".into()));
    }
}
