//! A process of the fleet: its clock, its layer, its log, its death.

use std::{
    cell::{Cell, RefCell},
    fs::File,
    future::{Future, poll_fn},
    io::{self, BufWriter, Write},
    path::Path,
    pin::pin,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{Shared, select},
};
use omni_metrics::{Clock, Keep, MockClock, OmniMetricsLayer};
use tokio::sync::{Semaphore, oneshot};
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::{layer::SubscriberExt, registry};

use crate::{Result, time::Time};

/// The origin of a mock clock, as its documentation gives it, in nanoseconds since the Unix epoch.
const MOCK_ORIGIN: u64 = 1_769_860_800_000_000_000;
/// How many requests a worker has in its model at once.
const SLOTS: usize = 16;

/// A process that is started again when it dies. All its lives write to one log.
pub(crate) struct Process {
    time: Time,
    log: Arc<Log>,
    life: RefCell<Option<Rc<Life>>>,
}

/// A process from its start to its death: one layer, one run.
pub(crate) struct Life {
    pub(crate) time: Time,
    /// How far the process's wall clock is ahead of the true one.
    pub(crate) offset: i64,
    /// Requests that may be in the worker's model.
    pub(crate) slots: Semaphore,
    /// The true wall clock at the start of the simulation.
    unix_start: u64,
    clock: MockClock,
    /// The moment at which `clock` stands. Ahead of the true time while the process computes.
    moment: Cell<u64>,
    dispatch: Dispatch,
    end: Cell<Option<oneshot::Sender<()>>>,
    ended: Shared<oneshot::Receiver<()>>,
}

impl Process {
    pub(crate) fn new(time: &Time, log: &Path) -> Result<Self> {
        let log = Arc::new(Log(Mutex::new((BufWriter::new(File::create(log)?), true))));
        Ok(Self { time: time.clone(), log, life: RefCell::default() })
    }

    /// Starts the process. `unix_start` is the true wall clock at the start of the simulation.
    pub(crate) fn start(&self, unix_start: u64, offset: i64, keep: Keep) -> Result<()> {
        let now = self.time.now();
        let (clock, mock) = Clock::mock();
        // The wall clock of a mock clock is its origin and what it was advanced by.
        let ahead = i128::from(unix_start) - i128::from(MOCK_ORIGIN) + i128::from(offset) + i128::from(now);
        let ahead = u64::try_from(ahead).map_err(|_| "the fleet starts before the origin of its clocks")?;
        mock.advance(Duration::from_nanos(ahead));
        self.log.lock().1 = true;
        let layer =
            OmniMetricsLayer::new().with_writer(Arc::clone(&self.log)).with_clock(clock).with_keep(keep);
        let (end, ended) = oneshot::channel();
        let life = Life {
            time: self.time.clone(),
            offset,
            slots: Semaphore::new(SLOTS),
            unix_start,
            clock: mock,
            moment: Cell::new(now),
            dispatch: Dispatch::new(registry().with(layer)),
            end: Cell::new(Some(end)),
            ended: ended.shared(),
        };
        *self.life.borrow_mut() = Some(Rc::new(life));
        Ok(())
    }

    /// The process dies. It writes nothing any more, and its tasks are dropped.
    pub(crate) async fn die(&self) {
        let life = self.life();
        // Lines of what it computes now are already written.
        while let Some(life) = life.as_ref().filter(|life| life.moment.get() > self.time.now()) {
            self.time.until(life.moment.get()).await;
        }
        self.die_now();
    }

    pub(crate) fn die_now(&self) {
        self.log.lock().1 = false;
        if let Some(end) = self.life.take().and_then(|life| life.end.take()) {
            // There may be no task.
            let _ = end.send(());
        }
    }

    /// The life of a process that is not dead.
    pub(crate) fn life(&self) -> Option<Rc<Life>> {
        self.life.borrow().clone()
    }

    pub(crate) fn flush(&self) -> Result<()> {
        Ok(self.log.lock().0.flush()?)
    }
}

impl Life {
    /// The true time, with what the process has computed since it was last asked to do something.
    pub(crate) fn now(&self) -> u64 {
        self.moment.get()
    }

    /// The process's own wall clock, as it stamps a message with it.
    pub(crate) fn unix_ms(&self) -> f64 {
        let nanos = i128::from(self.unix_start) + i128::from(self.offset) + i128::from(self.now());
        nanos as f64 / 1e6
    }

    /// Keeps the process's only thread busy: no other task of it runs meanwhile.
    pub(crate) fn compute(&self, nanos: u64) {
        self.clock.advance(Duration::from_nanos(nanos));
        self.moment.set(self.moment.get() + nanos);
    }

    /// Runs a task of the process, until it ends or the process dies.
    pub(crate) async fn run(self: Rc<Self>, task: impl Future<Output = ()>) {
        let task = pin!(task);
        let mut task = select(self.ended.clone(), task);
        poll_fn(|context| {
            if self.moment.get() > self.time.now() {
                self.time.wake_at(self.moment.get(), context.waker());
                return Poll::Pending;
            }
            self.compute(self.time.now() - self.moment.get());
            dispatcher::with_default(&self.dispatch, || task.poll_unpin(context)).map(drop)
        })
        .await;
    }
}

/// A log, and whether its process lives: what a dead process would write is lost.
struct Log(Mutex<(BufWriter<File>, bool)>);

impl Log {
    fn lock(&self) -> std::sync::MutexGuard<'_, (BufWriter<File>, bool)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for &Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (file, is_alive) = &mut *self.lock();
        if *is_alive { file.write(line) } else { Ok(line.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().0.flush()
    }
}
