//! Reports: what a running service says of itself every interval.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Format, Line, Millis, OpenLine, OverallSummary, Percentiles, SCHEMA, Snapshot, SummaryLine, Window,
    contain::contain,
    hold::periods::ReportId,
    inspection::OpenNow,
    shared::{Shared, Writing},
    write::lines,
};

/// How many lines of open requests a report has at most.
const OPEN_LINES: usize = 64;
/// The shortest interval.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest interval, a hundred years: a moment that far away can still be computed.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// How long the drop of a guard waits for a report that is being written.
const STALL_LIMIT: Duration = Duration::from_secs(1);

/// Writes reports until it is dropped. Made by
/// [`OmniMetricsHandle::report_every`](crate::OmniMetricsHandle::report_every), which has an example.
///
/// The drop ends the reports, and writes the lines of all answered requests as they stand: requests whose
/// span has closed, and whose line waits for open spans. It waits at most a second, until these lines are
/// written, and before them a report that has begun.
#[derive(Debug)]
#[must_use = "dropped at once, it ends the reports at once"]
pub struct ReportGuard {
    stop: Arc<Stop>,
}

impl Drop for ReportGuard {
    fn drop(&mut self) {
        self.stop.stop();
    }
}

impl ReportGuard {
    /// Starts the thread. If it cannot be started, there are no reports.
    pub(crate) fn start(shared: Arc<Shared>, interval: Duration, older_than: Duration) -> Self {
        let stop = Arc::new(Stop::default());
        let mut reports = Reports::begin(shared, older_than);
        let of_thread = Arc::clone(&stop);
        let interval = interval.clamp(SHORTEST, LONGEST);
        let run = move || {
            let mut due = Instant::now();
            loop {
                // A report that took longer than the interval is followed by the next one at once.
                due = due.checked_add(interval).unwrap_or(due).max(Instant::now());
                if of_thread.waits_until(due) {
                    break;
                }
                contain(|| reports.report());
            }
            // The series may have the last reference to the user's writer, whose drop may panic.
            contain(|| reports.end());
            of_thread.end();
        };
        if thread::Builder::new().name("omni-metrics".into()).spawn(run).is_err() {
            stop.end();
        }
        Self { stop }
    }
}

/// Tells the thread to stop, and the guard that it has.
#[derive(Debug, Default)]
struct Stop {
    state: Mutex<Stopping>,
    has_changed: Condvar,
}

#[derive(Debug, Default)]
struct Stopping {
    is_asked: bool,
    has_ended: bool,
}

impl Stop {
    /// Waits until `due`. Returns whether the thread is to stop.
    fn waits_until(&self, due: Instant) -> bool {
        let left = due.saturating_duration_since(Instant::now());
        self.wait(left, |stopping| stopping.is_asked).is_asked
    }

    fn stop(&self) {
        self.lock().is_asked = true;
        self.has_changed.notify_all();
        drop(self.wait(STALL_LIMIT, |stopping| stopping.has_ended));
    }

    fn end(&self) {
        self.lock().has_ended = true;
        self.has_changed.notify_all();
    }

    fn wait(&self, at_most: Duration, until: impl Fn(&Stopping) -> bool) -> MutexGuard<'_, Stopping> {
        let waited = self.has_changed.wait_timeout_while(self.lock(), at_most, |stopping| !until(stopping));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, Stopping> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A series of reports.
struct Reports {
    shared: Arc<Shared>,
    id: ReportId,
    /// The age at which an open request has a line, in nanoseconds.
    older_than: u64,
    /// When the window began.
    since: u64,
    /// The requests that were created before this moment were old at the last report.
    old_before: u64,
}

impl Reports {
    fn begin(shared: Arc<Shared>, older_than: Duration) -> Self {
        let id = shared.periods.begin(&shared.counters.stripes);
        let since = shared.writing().clock.now();
        let older_than = older_than.as_nanos().try_into().unwrap_or(u64::MAX);
        Self { shared, id, older_than, since, old_before: 0 }
    }

    fn report(&mut self) {
        if !self.shared.log_stats() {
            return;
        }
        let writing = self.shared.writing();
        let ((overall_summary, now), percentiles, window) = self.count(&writing);
        let snapshot = self.shared.snapshot_of(overall_summary, percentiles);
        let mut open = self.shared.open_now(now);
        self.shared.write_summary(&writing, now, snapshot, Some(window), &open);
        let old_before = now.saturating_sub(self.older_than).max(self.old_before);
        open.keep_created(mem::replace(&mut self.old_before, old_before)..old_before);
        self.write_open(&writing, now, open);
    }

    /// The run so far and the time, with its percentiles, and the window that ends now.
    fn count(&mut self, writing: &Writing) -> ((OverallSummary, u64), Percentiles, Window) {
        let Self { shared, since, .. } = self;
        let until_now = || {
            let now = writing.clock.now();
            let nanos = now.saturating_sub(*since);
            *since = now;
            ((shared.run.summary(), now), nanos)
        };
        shared.periods.report(&shared.counters.stripes, self.id, until_now)
    }

    fn end(self) {
        self.shared.write_answered(&self.shared.writing());
    }

    fn write_open(&self, writing: &Writing, now: u64, mut open: OpenNow) {
        let more = open.keep_oldest(OPEN_LINES);
        let requests = self.shared.as_they_stand(open);
        let last = requests.len().saturating_sub(1);
        for (at, request) in requests.into_iter().enumerate() {
            let more = (at == last && more > 0).then_some(more as u64);
            let line = OpenLine { schema: SCHEMA, timestamp: writing.clock.timestamp(now), request, more };
            self.shared.write_rare(writing, &Line::Open(line));
        }
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.shared.periods.end(self.id);
    }
}

impl Shared {
    /// Writes a summary line of this moment.
    pub(crate) fn write_summary(
        &self,
        writing: &Writing,
        now: u64,
        snapshot: Snapshot,
        window: Option<Window>,
        open: &OpenNow,
    ) {
        let line = SummaryLine {
            schema: SCHEMA,
            timestamp: writing.clock.timestamp(now),
            overall_summary: snapshot.overall_summary,
            percentiles: snapshot.percentiles,
            window: window.map(Box::new),
            open_requests: Some(snapshot.open_requests),
            oldest_age_ms: open.oldest_age().map(Millis::from_nanos),
            lines_written: Some(snapshot.lines_written),
            lines_left_out: Some(snapshot.lines_left_out),
            lines_lost: Some(snapshot.lines_lost),
        };
        self.write_rare(writing, &Line::Summary(line));
    }

    fn write_rare(&self, writing: &Writing, line: &Line) {
        writing.output.emit(&self.counters, &[], |out, format| match format {
            Format::Json => lines::write_rare(out, line),
            #[cfg(feature = "tables")]
            Format::Table => crate::write::text::append(out, line),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{io, panic};

    use tracing_subscriber::Registry;

    use super::*;
    use crate::OmniMetricsLayer;

    struct PanicsAtDrop;

    impl Drop for PanicsAtDrop {
        fn drop(&mut self) {
            panic::resume_unwind(Box::new(()));
        }
    }

    #[test]
    fn the_reports_end_though_the_drop_of_the_writer_panics() {
        let panics = PanicsAtDrop;
        let writer = move || {
            let _ = &panics;
            io::sink()
        };
        let layer = OmniMetricsLayer::<Registry>::new().with_writer(writer);
        let guard = layer.handle().report_every(Duration::MAX, Duration::MAX);
        let stop = Arc::clone(&guard.stop);
        // The thread has the last reference to the writer now.
        drop(layer);
        drop(guard);
        assert!(stop.wait(Duration::from_secs(60), |stopping| stopping.has_ended).has_ended);
    }
}
