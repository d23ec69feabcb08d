//! A bounded queue of lines, and the thread that writes them to a user's writer.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{
    contain::contain,
    write::{
        counters::Counters,
        sink::{Direct, Outcome, Sink, lose_lines_of_this_thread},
        waiting::{Waiting, WaitingLine},
    },
};

/// How long the drop of a [`QueueGuard`] waits for a writer that takes no line.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// Writes the queued lines and ends the queue of [`OmniMetricsLayer::with_queued_writer`] when it is dropped.
///
/// The drop writes all queued lines, flushes and drops the writer, and returns when the thread has ended. It
/// waits as long as the writer takes lines. If the writer takes none for 5 seconds, the remaining lines are
/// lost and counted, and the thread ends as soon as the writer returns. A line that comes after the drop is
/// lost and counted.
///
/// Keep the guard until the last request has closed and the summary is written: declare it before a
/// [`SummaryGuard`](crate::SummaryGuard), since variables are dropped in reverse order.
///
/// [`OmniMetricsLayer::with_queued_writer`]: crate::OmniMetricsLayer::with_queued_writer
#[derive(Debug)]
#[must_use = "dropped at once, it ends the queue at once, and every line is lost"]
pub struct QueueGuard {
    queue: Arc<Queue>,
    /// `None` if the thread could not be started.
    thread: Option<JoinHandle<()>>,
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        self.end(STALL_LIMIT);
    }
}

impl QueueGuard {
    fn end(&mut self, stall_limit: Duration) {
        for line in self.queue.close(stall_limit) {
            line.count(false);
        }
        if self.queue.lock().has_ended
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// The queue between the threads whose spans close and the writing thread.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Wakes the writing thread.
    has_line: Condvar,
    /// Wakes the guard that is being dropped.
    has_progress: Condvar,
}

#[derive(Debug)]
struct State {
    waiting: Waiting,
    /// Whether the thread is waiting for a line; only then it must be woken.
    is_idle: bool,
    /// Whether the queue is closed to further lines.
    is_closed: bool,
    /// Whether the thread has dropped the writer.
    has_ended: bool,
    /// How many lines were passed to the writer.
    given: u64,
}

impl Queue {
    /// Starts the thread. If it cannot be started, the queue is closed, and every line is lost.
    pub(crate) fn start<M>(writer: Direct<M>, capacity: usize) -> (Arc<Self>, QueueGuard)
    where
        M: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    {
        let state = State {
            waiting: Waiting::new(capacity),
            is_idle: false,
            is_closed: false,
            has_ended: false,
            given: 0,
        };
        let queue = Arc::new(Self {
            state: Mutex::new(state),
            has_line: Condvar::new(),
            has_progress: Condvar::new(),
        });
        let of_thread = Arc::clone(&queue);
        let thread = thread::Builder::new().name("omni-metrics".into()).spawn(move || of_thread.run(writer));
        if thread.is_err() {
            let mut state = queue.lock();
            (state.is_closed, state.has_ended) = (true, true);
        }
        let guard = QueueGuard { queue: Arc::clone(&queue), thread: thread.ok() };
        (queue, guard)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop of the thread.
    fn run<M>(&self, writer: Direct<M>)
    where
        M: for<'a> MakeWriter<'a>,
    {
        lose_lines_of_this_thread();
        while let Some(line) = self.next() {
            let is_written = writer.write(&line.text);
            line.count(is_written);
            let mut state = self.lock();
            state.given += 1;
            if state.is_closed {
                self.has_progress.notify_all();
            }
        }
        writer.flush();
        contain(|| drop(writer));
        self.lock().has_ended = true;
        self.has_progress.notify_all();
    }

    /// Waits for the next line. `None` when the queue is closed and empty.
    fn next(&self) -> Option<WaitingLine> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.waiting.pop() {
                return Some(line);
            }
            if state.is_closed {
                return None;
            }
            state.is_idle = true;
            state = self.has_line.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_idle = false;
        }
    }

    /// Closes the queue, and waits until the writer has taken all queued lines. Returns the lines that it did
    /// not take because it stalled for longer than the limit.
    fn close(&self, stall_limit: Duration) -> VecDeque<WaitingLine> {
        let mut state = self.lock();
        state.is_closed = true;
        self.has_line.notify_all();
        let (mut given, mut since) = (state.given, Instant::now());
        while !state.has_ended {
            if state.given != given {
                (given, since) = (state.given, Instant::now());
            }
            let Some(left) = stall_limit.checked_sub(since.elapsed()).filter(|left| !left.is_zero()) else {
                return state.waiting.take();
            };
            let waited = self.has_progress.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        VecDeque::new()
    }
}

impl Sink for Queue {
    fn write(&self, line: &[u8], counters: &Arc<Counters>) -> Outcome {
        let mut state = self.lock();
        if state.is_closed || !state.waiting.push(line, counters) {
            return Outcome::Lost;
        }
        let is_idle = state.is_idle;
        drop(state);
        if is_idle {
            self.has_line.notify_one();
        }
        Outcome::Waits
    }
}
