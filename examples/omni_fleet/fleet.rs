//! The fleet, its traffic and its restarts.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_executor::{LocalPool, LocalSpawner};
use futures_util::task::LocalSpawnExt;
use omni_metrics::Keep;
use rand::Rng;
use tokio::sync::oneshot;

use crate::{
    Result,
    front::{self, Ending},
    plan::{Death, Plan, chance, exponential},
    process::{Life, Process},
    time::Time,
    truth::Attempt,
};

/// The file of what really happened.
pub const TRUTH: &str = "truth.json";
/// When the first request may come, in nanoseconds: no clock is off by so much.
const BEFORE: u64 = 10_000_000_000;
/// How often a client tries.
const ATTEMPTS: u64 = 3;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The same seed gives the same logs.
    pub seed: u64,
    /// How many requests clients send; some are sent again.
    pub requests: u64,
    /// How many come in a second.
    pub rate: f64,
    /// An eighth of them are fronts, the rest is divided among the stages.
    pub processes: usize,
    /// How many times a process dies.
    pub restarts: u64,
    /// By how much wall clocks are off, at most.
    pub max_offset: Duration,
    /// Which requests have lines, and rows in the logs of workers.
    pub keep: Keep,
    /// The true time at the start, after 2026-01-31T12:00:00Z.
    pub start: SystemTime,
}

/// Which processes do what.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) fronts: Range<usize>,
    pub(crate) thinkers: Range<usize>,
    pub(crate) talkers: Range<usize>,
    pub(crate) vocoders: Range<usize>,
}

impl Places {
    fn of(processes: usize) -> Self {
        let fronts = (processes / 8).max(1);
        let each = |sevenths: usize| (processes.saturating_sub(fronts) * sevenths / 7).max(1);
        let (thinkers, talkers) = (fronts + each(3), fronts + each(3) + each(2));
        let vocoders = talkers..processes.max(talkers + 1);
        Self { fronts: 0..fronts, thinkers: fronts..thinkers, talkers: thinkers..talkers, vocoders }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let places = [
            ("front", self.fronts.clone()),
            ("thinker", self.thinkers.clone()),
            ("talker", self.talkers.clone()),
            ("code2wav", self.vocoders.clone()),
        ];
        places.into_iter().flat_map(|(name, places)| (0..places.len()).map(move |n| format!("{name}-{n:02}")))
    }
}

pub(crate) struct Fleet {
    pub(crate) time: Time,
    settings: Settings,
    places: Places,
    processes: Vec<Process>,
    tasks: LocalSpawner,
    /// What has happened to attempts that are over.
    truth: RefCell<BufWriter<File>>,
    /// Attempts that are under way.
    open: RefCell<Vec<Rc<RefCell<Attempt>>>>,
}

/// Simulates a fleet. Writes a log a process, and [`TRUTH`], into an empty directory.
///
/// # Errors
///
/// Fails if a file cannot be written, or if the settings make no sense.
pub fn run(settings: &Settings, directory: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(directory)?;
    let mut tasks = LocalPool::new();
    let time = Time::default();
    let places = Places::of(settings.processes);
    let logs: Vec<_> = places.names().map(|name| directory.join(format!("{name}.jsonl"))).collect();
    let fleet = Rc::new(Fleet {
        processes: logs.iter().map(|log| Process::new(&time, log)).collect::<Result<_>>()?,
        time,
        settings: settings.clone(),
        places,
        tasks: tasks.spawner(),
        truth: RefCell::new(BufWriter::new(File::create(directory.join(TRUTH))?)),
        open: RefCell::default(),
    });
    for process in 0..fleet.processes.len() {
        fleet.start(process, 0)?;
    }
    fleet.spawn(traffic(Rc::clone(&fleet)))?;
    for number in 0..settings.restarts {
        fleet.spawn(restart(Rc::clone(&fleet), number))?;
    }
    fleet.time.run(&mut tasks);
    fleet.end()?;
    Ok(logs)
}

impl Fleet {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) -> Result<()> {
        Ok(self.tasks.spawn_local(task)?)
    }

    /// A process, unless it is dead.
    pub(crate) fn life(&self, process: usize) -> Option<Rc<Life>> {
        self.processes.get(process)?.life()
    }

    fn start(&self, process: usize, life: u64) -> Result<()> {
        let most = i64::try_from(self.settings.max_offset.as_nanos())?;
        let offset = chance(self.settings.seed, 1, life * 1_000 + process as u64).random_range(-most..=most);
        let unix_start = u64::try_from(self.settings.start.duration_since(UNIX_EPOCH)?.as_nanos())?;
        self.processes
            .get(process)
            .map_or(Ok(()), |process| process.start(unix_start, offset, self.settings.keep.clone()))
    }

    /// Opens the account of an attempt.
    pub(crate) fn open(&self, attempt: Attempt) -> Rc<RefCell<Attempt>> {
        let attempt = Rc::new(RefCell::new(attempt));
        self.open.borrow_mut().push(Rc::clone(&attempt));
        attempt
    }

    /// Writes the accounts of attempts to which nothing can happen any more: nobody else has them.
    fn settle(&self) -> Result<()> {
        let mut open = self.open.borrow_mut();
        for attempt in open.extract_if(.., |attempt| Rc::strong_count(attempt) == 1) {
            let mut truth = self.truth.borrow_mut();
            serde_json::to_writer(&mut *truth, &*attempt.borrow())?;
            writeln!(truth)?;
        }
        Ok(())
    }

    /// Ends all processes as they stand: what is under way has no line.
    fn end(&self) -> Result<()> {
        for process in &self.processes {
            process.die_now();
            process.flush()?;
        }
        for attempt in self.open.borrow().iter() {
            let mut truth = self.truth.borrow_mut();
            serde_json::to_writer(&mut *truth, &*attempt.borrow())?;
            writeln!(truth)?;
        }
        Ok(self.truth.borrow_mut().flush()?)
    }
}

/// All clients.
async fn traffic(fleet: Rc<Fleet>) {
    let mut chance = chance(fleet.settings.seed, 2, 0);
    fleet.time.sleep(BEFORE).await;
    for number in 0..fleet.settings.requests {
        fleet.time.sleep(exponential(&mut chance, 1e9 / fleet.settings.rate)).await;
        if number % 1_000 == 0 {
            fleet.settle().expect("the truth can be written");
        }
        fleet.spawn(client(Rc::clone(&fleet), number)).expect("the tasks have not ended");
    }
}

/// Sends a request, and sends it again if it fails.
async fn client(fleet: Rc<Fleet>, number: u64) {
    for attempt in 0..ATTEMPTS {
        let plan = Rc::new(Plan::of(
            &mut chance(fleet.settings.seed, 3, number * ATTEMPTS + attempt),
            &fleet.places,
        ));
        let [front, ..] = plan.processes;
        if let Some(life) = fleet.life(front) {
            let (ending, ended) = oneshot::channel();
            let serve = front::serve(
                Rc::clone(&fleet),
                Rc::clone(&life),
                Rc::clone(&plan),
                format!("req-{number:06}"),
                ending,
            );
            fleet.spawn(life.run(serve)).expect("the tasks have not ended");
            if let Ok(Ending::Final) = ended.await {
                return;
            }
        }
        fleet.time.sleep(plan.pause).await;
    }
}

/// Kills a process, and starts it again.
async fn restart(fleet: Rc<Fleet>, number: u64) {
    let mut chance = chance(fleet.settings.seed, 4, number);
    let last = 1e9 * fleet.settings.requests as f64 / fleet.settings.rate;
    let death = Death {
        process: chance.random_range(0..fleet.processes.len()),
        at: BEFORE + chance.random_range(0..=last as u64),
        down: 500_000_000 + exponential(&mut chance, 1e9),
    };
    fleet.time.until(death.at).await;
    if let Some(process) = fleet.processes.get(death.process) {
        process.die().await;
    }
    fleet.time.sleep(death.down).await;
    fleet.start(death.process, number + 1).expect("a layer can be made");
}
