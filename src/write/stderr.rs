//! The stderr of the process, written so that no thread of the host waits for it.
//!
//! Lines that stderr does not take at once wait in memory, and a thread of this crate writes them when there
//! is room. The lock of the standard library's stderr is never taken, because a thread of the host may hold
//! it while it is blocked in an `eprintln!`.

use std::{
    io, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    contain::contain,
    write::{
        counters::Counters,
        sink::{Outcome, Sink, lose_lines_of_this_thread},
        stream::{Stream, has_room, unread},
        waiting::{Waiting, WaitingLine, count_line},
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
    is_ending: false,
    watches_forks: false,
    stream: Stream::new(),
});

/// Whether this process was forked while a thread of its parent held the lock. That thread does not exist
/// here, so the lock stays locked.
static IS_LOCKED_FOR_EVER: AtomicBool = AtomicBool::new(false);

/// Writes lines to stderr.
#[derive(Debug)]
pub(crate) struct Stderr;

impl Sink for Stderr {
    fn write(&self, line: &[u8], counters: &Arc<Counters>) -> Outcome {
        if IS_LOCKED_FOR_EVER.load(Ordering::Relaxed) {
            return Outcome::Lost;
        }
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
    /// Whether that function is writing them. Lines that come meanwhile are lost, because threads that still
    /// run may make them without end.
    is_ending: bool,
    /// Whether a function is registered that runs in each forked process.
    watches_forks: bool,
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
        if !self.watches_forks {
            self.watches_forks = watch_forks();
        }
        if self.is_ending {
            return Outcome::Lost;
        }
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
        // The rest of a line belongs where its beginning is.
        let at = self.at.take().filter(|_| self.stream.is_same());
        let from = at.unwrap_or_else(|| self.beginning());
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

    /// Leaves the waiting lines to the parent, which has the thread that writes them.
    ///
    /// They are not dropped: a thread of the parent may have held a lock of the allocator or of an exporter.
    fn leave_to_parent(&mut self) {
        mem::forget(self.waiting.take());
        self.is_cut |= self.at.take().is_some();
        (self.has_thread, self.is_ending) = (false, false);
        // Otherwise the reader of a pipe would wait for this process, though it has redirected its stderr.
        self.stream = Stream::new();
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
            Step::Ended(line, is_written) => count_line(line.counters, is_written),
            Step::Stalled(true) => {}
            Step::Stalled(false) => thread::sleep(RETRY),
        }
    }
}

/// Writes the waiting lines at the exit of the process, as long as stderr takes some bytes or its pipe is
/// read. The rest is lost.
///
/// Lines are counted without calling the exporters: a panic there would print its message to stderr.
extern "C" fn at_exit() {
    if IS_LOCKED_FOR_EVER.load(Ordering::Relaxed) {
        return;
    }
    contain(|| {
        let (mut waited, mut is_refused, mut before) = (Duration::ZERO, false, None);
        while waited < STALL_LIMIT {
            // Another thread may hold the lock while it is blocked in a write, which this one could not end.
            let Ok(mut state) = STDERR.try_lock() else {
                thread::sleep(RETRY);
                waited += RETRY;
                continue;
            };
            let step = state.step();
            state.is_ending = !matches!(step, Step::NoneWaits);
            drop(state);
            match step {
                Step::NoneWaits => return,
                Step::Ended(line, is_written) => {
                    line.counters.stripes.count_line(is_written);
                    (waited, is_refused) = (Duration::ZERO, false);
                }
                Step::Stalled(true) => (waited, is_refused) = (Duration::ZERO, false),
                Step::Stalled(false) => {
                    if is_refused {
                        thread::sleep(RETRY);
                    }
                    is_refused = has_room(STALL);
                    waited += if is_refused { RETRY } else { STALL };
                    // Other processes may have been faster to fill the room in a pipe that is being read.
                    let unread = unread();
                    if unread != before {
                        (waited, before) = (Duration::ZERO, unread);
                    }
                }
            }
        }
        if let Ok(mut state) = STDERR.try_lock() {
            state.is_ending = false;
            state.waiting.take().iter().for_each(|line| line.counters.stripes.count_line(false));
        }
    });
}

/// Runs in a process that was forked, before `fork` returns there.
extern "C" fn in_forked_process() {
    match STDERR.try_lock() {
        Ok(mut state) => state.leave_to_parent(),
        Err(TryLockError::Poisoned(state)) => state.into_inner().leave_to_parent(),
        Err(TryLockError::WouldBlock) => IS_LOCKED_FOR_EVER.store(true, Ordering::Relaxed),
    }
}

/// Registers the function that writes the waiting lines at the exit of the process. Returns whether the
/// system accepted it.
#[allow(unsafe_code, reason = "the standard library has no hook for the exit of the process")]
fn write_at_exit() -> bool {
    // SAFETY: the function may be called at any time and on any thread, and does not unwind.
    unsafe { libc::atexit(at_exit) == 0 }
}

/// Registers the function that runs in each forked process. Returns whether the system accepted it.
#[allow(unsafe_code, reason = "the standard library has no hook for a fork")]
fn watch_forks() -> bool {
    // SAFETY: the function only takes a free lock and changes memory, so that it may run in the forked
    // process of a program with threads; it does not unwind.
    unsafe { libc::pthread_atfork(None, None, Some(in_forked_process)) == 0 }
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

    /// Forks, runs `run` in the forked process, and returns whether it returned `true`.
    #[allow(unsafe_code, reason = "only `fork` has the effect that is tested")]
    fn in_a_fork(run: impl FnOnce() -> bool) -> bool {
        // SAFETY: the forked process runs code of this test, which takes no lock that another thread may
        // hold, and ends without unwinding. The pointer is to an integer that lives until the call returns.
        unsafe {
            let process = libc::fork();
            if process == 0 {
                libc::_exit(libc::c_int::from(!run()));
            }
            let mut status = -1;
            libc::waitpid(process, &raw mut status, 0) == process && status == 0
        }
    }

    #[test]
    fn a_process_that_is_forked_while_a_thread_writes_loses_its_lines_and_does_not_wait() {
        assert!(watch_forks());
        let counters = Arc::default();
        let held = lock();
        let is_lost = in_a_fork(|| {
            let outcome = Stderr.write(b"\nline\n", &counters);
            at_exit();
            outcome == Outcome::Lost
        });
        drop(held);
        assert!(is_lost);
    }
}
