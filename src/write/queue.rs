//! A bounded queue of lines, and the thread that writes them to a user's writer.

use std::{
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
        waiting::{Waiting, WaitingLine, count_line},
    },
};

/// How long the drop of a [`QueueGuard`] waits for a writer that takes no line.
const STALL_LIMIT: Duration = Duration::from_secs(5);

/// Writes the queued lines and ends the queue of [`OmniMetricsLayer::with_queued_writer`] when it is dropped.
///
/// The drop writes all queued lines, flushes and drops the writer, and returns when the thread has ended. It
/// waits as long as the writer takes lines: with a writer that needs 200 ms for each, 50 seconds for 250
/// lines. If the writer takes none for 5 seconds, the remaining lines are lost and counted, among them the
/// one that the writer has not returned from, and the thread ends as soon as the writer returns. A line that
/// comes after the drop is lost and counted. Where the process must end within a given time, as after a
/// SIGTERM, call [`close`](Self::close) instead.
///
/// After the drop, [`lines_written`](crate::Snapshot::lines_written) and
/// [`lines_lost`](crate::Snapshot::lines_lost) of the handle are final. Report them outside of the log that
/// lost the lines.
///
/// Keep the guard until the last request has closed and the summary is written: declare it before a
/// [`SummaryGuard`](crate::SummaryGuard) and a [`ReportGuard`](crate::ReportGuard), which write lines when
/// they are dropped, since variables are dropped in reverse order.
///
/// [`OmniMetricsLayer::with_queued_writer`]: crate::OmniMetricsLayer::with_queued_writer
#[derive(Debug)]
#[must_use = "dropped at once, it ends the queue at once, and every line is lost"]
pub struct QueueGuard {
    queue: Arc<Queue>,
    /// `None` if the thread could not be started, or has been joined.
    thread: Option<JoinHandle<()>>,
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end(STALL_LIMIT, Duration::MAX);
        }
    }
}

impl QueueGuard {
    /// Ends the queue as the drop does, and waits at most `deadline`, also for a writer that takes no line.
    /// Returns how many lines were lost because the time was over; `lines_lost` counts them too.
    ///
    /// ```no_run
    /// # use std::{fs::File, time::Duration};
    /// # use omni_metrics::OmniMetricsLayer;
    /// # let log = File::create("requests.jsonl")?;
    /// # let (layer, guard) = OmniMetricsLayer::<tracing_subscriber::Registry>::new()
    /// #     .with_queued_writer(log, 1 << 20);
    /// // The supervisor kills the process 10 seconds after its SIGTERM.
    /// let lost = guard.close(Duration::from_secs(8));
    /// println!("{lost} lines were lost at the end");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(mut self, deadline: Duration) -> u64 {
        let lost = self.end(Duration::MAX, deadline);
        self.thread = None;
        lost
    }

    /// Returns how many lines were lost.
    fn end(&mut self, stall_limit: Duration, deadline: Duration) -> u64 {
        let lost = self.queue.close(stall_limit, deadline);
        let count = lost.len() as u64;
        lost.into_iter().for_each(|counters| count_line(counters, false));
        if self.queue.lock().has_ended
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        count
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
    /// The counters of the line that the writer has. `None` if it has none, or if the guard has given up the
    /// line and counted it as lost.
    in_writer: Option<Arc<Counters>>,
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
            in_writer: None,
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
        while let Some(text) = self.next() {
            let is_written = writer.write(&text);
            let counters = self.lock().in_writer.take();
            if let Some(counters) = counters {
                count_line(counters, is_written);
            }
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

    /// Waits for the next line, and returns its text. `None` when the queue is closed and empty.
    fn next(&self) -> Option<Box<[u8]>> {
        let mut state = self.lock();
        loop {
            if let Some(WaitingLine { text, counters }) = state.waiting.pop() {
                state.in_writer = Some(counters);
                return Some(text);
            }
            if state.is_closed {
                return None;
            }
            state.is_idle = true;
            state = self.has_line.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.is_idle = false;
        }
    }

    /// Closes the queue, and waits until the writer has taken all queued lines. Gives up when the writer has
    /// taken none for `stall_limit` or `deadline` is over, and returns the counters of the lines left.
    fn close(&self, stall_limit: Duration, deadline: Duration) -> Vec<Arc<Counters>> {
        let mut state = self.lock();
        state.is_closed = true;
        self.has_line.notify_all();
        let begin = Instant::now();
        let (mut given, mut since) = (state.given, begin);
        while !state.has_ended {
            if state.given != given {
                (given, since) = (state.given, Instant::now());
            }
            let until_stalled = stall_limit.saturating_sub(since.elapsed());
            let left = deadline.saturating_sub(begin.elapsed()).min(until_stalled);
            if left.is_zero() {
                let in_writer = state.in_writer.take();
                let waiting = state.waiting.take();
                return in_writer.into_iter().chain(waiting.into_iter().map(|line| line.counters)).collect();
            }
            let waited = self.has_progress.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Vec::new()
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
