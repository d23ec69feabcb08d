//! The process's stderr, for which no thread of the host waits.
//!
//! What stderr does not take at once waits in memory, and a thread of the crate's own writes it when there is
//! room. The lock of the standard library's stderr is never taken: a thread of the host may hold it while it
//! is blocked in an `eprintln!`.

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
    emit::{Outcome, Sink, lose_lines_of_this_thread},
    handle::Shared,
    waiting::{Waiting, WaitingLine},
};

/// How many bytes of lines may wait. A line for which there is no room is lost.
const WAITING_LIMIT: usize = 1024 * 1024;
/// How long the exit of the process waits for a stderr that takes nothing.
const STALL_LIMIT: Duration = Duration::from_secs(1);
/// How long each of those waits is. Their number counts, not the clock: a machine that is suspended meanwhile
/// loses nothing.
const STALL: Duration = Duration::from_millis(50);
/// How long stderr is asked for room before it is looked at anew: the host may have put another file in its
/// place.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long to wait where stderr says that it has room and takes nothing.
const RETRY: Duration = Duration::from_millis(1);

/// All layers of the process share one stderr, and lines of one must not cut those of another.
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
    fn write(&self, line: &[u8], shared: &Arc<Shared>) -> Outcome {
        lock().write(line, shared)
    }
}

fn lock() -> MutexGuard<'static, State> {
    STDERR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of stderr. Its lock is held while bytes are written, but only where that does not wait for a
/// reader.
struct State {
    waiting: Waiting,
    /// Where to go on in the first waiting line, if a part of it has been written.
    at: Option<usize>,
    /// Whether the last bytes written are a part of a line whose rest is lost.
    is_cut: bool,
    /// Whether a thread writes what waits.
    has_thread: bool,
    /// Whether the exit of the process writes what waits.
    is_registered: bool,
    stream: Stream,
}

/// How far a line has come.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    All,
    /// Stderr has no room for the rest.
    Stalled,
    Failed,
}

/// What became of the first waiting line.
enum Step {
    NoneWaits,
    Ended(WaitingLine, bool),
    /// Some bytes of it were written, or none.
    Stalled(bool),
}

impl State {
    fn write(&mut self, line: &[u8], shared: &Arc<Shared>) -> Outcome {
        if self.waiting.is_empty() {
            let begin = self.beginning();
            match self.write_from(line, begin) {
                (Progress::All, _) => return Outcome::Written,
                (Progress::Failed, _) => return Outcome::Lost,
                (Progress::Stalled, at) if at > begin => {
                    self.waiting.push_always(line, shared);
                    self.at = Some(at);
                }
                (Progress::Stalled, _) => {
                    if !self.waiting.push(line, shared) {
                        return Outcome::Lost;
                    }
                }
            }
        } else if !self.waiting.push(line, shared) {
            self.have_it_written();
            return Outcome::Lost;
        }
        self.have_it_written();
        Outcome::Waits
    }

    /// Where a line begins: at the line feed before it, if that has to end a line that was cut.
    fn beginning(&self) -> usize {
        usize::from(!self.is_cut)
    }

    /// Writes a line from a byte on, as far as stderr takes it without waiting. Returns where that is as
    /// well.
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

    /// Writes the first waiting line, as far as stderr takes it.
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

    /// Sees to it that what waits is written: by a thread, and at the exit of the process by that. If the
    /// system refuses a thread, the next line asks again.
    fn have_it_written(&mut self) {
        if !self.is_registered {
            self.is_registered = write_at_exit();
        }
        if !self.has_thread {
            self.has_thread = thread::Builder::new().name("omni-metrics".into()).spawn(write_waiting).is_ok();
        }
    }
}

/// Writes a line from a byte on with `write`, which does not wait. Returns where the written part ends as
/// well.
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

/// Writes what waits, until nothing does.
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

/// Writes what waits at the exit of the process, as long as stderr takes something. The rest is lost.
///
/// Lines are counted without the exporters' code: a panic in it would print its message to stderr.
extern "C" fn at_exit() {
    contain(|| {
        let mut waited = Duration::ZERO;
        while waited < STALL_LIMIT {
            // Another thread may be blocked in a write, where it could not be kept from that.
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
                    line.shared.counts.count_line(is_written);
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
            state.waiting.take().iter().for_each(|line| line.shared.counts.count_line(false));
        }
    });
}

/// Stderr, as a file that is written to without waiting.
#[derive(Debug)]
struct Stream {
    /// What stderr was when it was last opened anew, and what came of that.
    reopened: Option<(Identity, Option<File>)>,
}

/// Device, inode, and the device that the inode stands for.
type Identity = (u64, u64, u64);

impl Stream {
    /// Writes as many bytes as there is room for now; fails with [`io::ErrorKind::WouldBlock`] if there is
    /// none. A file on a disk takes all, however long that lasts.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = stderr();
        let metadata = stderr.metadata()?;
        let kind = metadata.file_type();
        if kind.is_socket() {
            return send(bytes);
        }
        if !kind.is_fifo() && !kind.is_char_device() {
            return (&*stderr).write(bytes);
        }
        if let Some(mut file) = self.reopened(&metadata) {
            return file.write(bytes);
        }
        if !has_room(Duration::ZERO) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // So many bytes fit where there is room at all, unless another writer is faster.
        (&*stderr).write(bytes.get(..libc::PIPE_BUF).unwrap_or(bytes))
    }

    /// Stderr, opened anew: not to wait is a property of the open file, which the host and other processes
    /// share with us as it is. `None` where that is not possible; the system may not allow it after a change
    /// of user.
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

/// Elsewhere, `/dev/fd/2` is the same open file once more.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reopen() -> Option<File> {
    None
}

/// Stderr without the standard library's lock.
#[allow(unsafe_code, reason = "the standard library has no other way to a file descriptor without owning it")]
fn stderr() -> ManuallyDrop<File> {
    // SAFETY: the descriptor is not closed by this file, which is never dropped. If the host has closed it,
    // the calls fail.
    ManuallyDrop::new(unsafe { File::from_raw_fd(libc::STDERR_FILENO) })
}

/// Waits until stderr has room, or has failed, and returns whether it has.
#[allow(unsafe_code, reason = "the standard library cannot ask for room")]
fn has_room(wait: Duration) -> bool {
    let mut asked = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    let millis = wait.as_millis().try_into().unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer is to one `pollfd`, which lives until the call returns.
    let ready = unsafe { libc::poll(ptr::from_mut(&mut asked), 1, millis) };
    ready > 0
}

/// Sends to a stderr that is a socket, as a service's is under systemd.
#[allow(unsafe_code, reason = "the standard library cannot send once without waiting")]
fn send(bytes: &[u8]) -> io::Result<usize> {
    // Apple's systems send the signal, which the standard library ignores.
    #[cfg(target_vendor = "apple")]
    let flags = libc::MSG_DONTWAIT;
    #[cfg(not(target_vendor = "apple"))]
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of a slice that lives until the call returns.
    let sent = unsafe { libc::send(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Has the exit of the process write what waits, and returns whether the system agreed.
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
