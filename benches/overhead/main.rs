//! What the layer costs, against what there is instead. `cargo bench -p overhead`
//!
//! Every set-up runs in a process of its own, since `tracing` caches what callsites are for. The processes of
//! one round follow each other, so that a drift of the machine meets all of them. A figure is the least of the
//! samples of all rounds, since a disturbance only ever adds; a sample is shorter than the time slice of a
//! process, so that some are not disturbed while other programs run. The spread is that of the ratios within
//! each round.
#![allow(clippy::print_stdout, reason = "it reports on stdout")]

#[path = "../workload/mod.rs"]
mod workload;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeMap,
    env,
    hint::black_box,
    io::{self, BufRead, BufReader, Lines, Write},
    iter,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use omni_metrics::{Keep, OmniMetricsLayer};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::{Dispatch, Metadata, Subscriber, field::Empty, info, info_span, trace, trace_span};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, filter_fn},
    fmt::{self, format::FmtSpan},
    prelude::*,
};

const ROUNDS: usize = 9;
/// Samples within a process.
const SAMPLES: u32 = 301;
/// Samples of many threads or processes.
const CROWDS: u32 = SAMPLES / 10;
/// How many requests each of them serves in a sample. All begin at once, and the last one to end counts, since
/// the system gives the cores to some of them first.
const SERVED: u32 = 5_000;
/// How many threads serve requests at once. The machine of the published figures has two cores.
const THREADS: [usize; 3] = [2, 4, 8];

struct CountingAllocator;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// A layer that does nothing, and so enables everything.
struct Noop;

impl<S: Subscriber> Layer<S> for Noop {}

/// An exporter that throws spans away.
#[derive(Debug)]
struct NullExporter;

impl SpanExporter for NullExporter {
    async fn export(&self, _: Vec<SpanData>) -> opentelemetry_sdk::error::OTelSdkResult {
        Ok(())
    }
}

/// What a set-up measured, in nanoseconds unless the name says otherwise.
type Figures = BTreeMap<String, f64>;

fn main() {
    let option = |name: &str| env::args().skip_while(|argument| argument != name).nth(1);
    match (option("--set-up"), option("--times").and_then(|count| count.parse().ok())) {
        (Some(set_up), None) => run_set_up(&set_up),
        (Some(set_up), Some(count)) => run_only(&set_up, count),
        (None, _) if env::args().any(|argument| argument == "--neighbour") => neighbour(),
        (None, _) => match option("--serve") {
            Some(set_up) => serve_when_asked(&set_up),
            None => {
                compare();
                compare_enters();
            }
        },
    }
}

/// Does one thing many times and nothing else, for a count of instructions. `name` is a set-up, and after a
/// colon what to do in it: by default requests.
fn run_only(name: &str, count: u32) {
    let (name, what) = name.split_once(':').unwrap_or((name, "request"));
    let Some(dispatch) = set_up(name) else {
        let by_hand = workload::ByHand::default();
        return (0..count).for_each(|_| drop(by_hand.request("r1", &mut io::sink())));
    };
    tracing::dispatcher::with_default(&dispatch, || {
        let repeat = |run: &dyn Fn()| (0..count).for_each(|_| run());
        let open =
            || (info_span!("request", request_id = "open").entered(), info_span!("stage", stage_id = 0));
        match what {
            "outputs" => repeat(&|| workload::streams("r1")),
            "enter" => {
                let (_request, stage) = open();
                repeat(&|| drop(stage.enter()));
            }
            "new" => {
                let _request = open();
                repeat(&|| drop(info_span!("stage", stage_id = 0)));
            }
            _ => repeat(&|| workload::spans("r1")),
        }
    });
}

fn set_up(name: &str) -> Option<Dispatch> {
    let omni = || OmniMetricsLayer::new().with_writer(io::sink);
    let ours = |metadata: &Metadata<'_>| {
        metadata.is_span()
            && (["request", "stage", "transfer", "preprocess"].contains(&metadata.name())
                || *metadata.level() <= LevelFilter::INFO)
    };
    Some(match name {
        "noop" | "noop_threads" => Dispatch::new(tracing_subscriber::registry().with(Noop)),
        "filter" => Dispatch::new(tracing_subscriber::registry().with(Noop.with_filter(filter_fn(ours)))),
        "omni" | "omni_enters" | "omni_threads" => Dispatch::new(tracing_subscriber::registry().with(omni())),
        "omni_left_out" => {
            // The choice that leaves this request out, after all questions have been asked.
            let keep = Keep::one_in(1_000_000).failed().slower_than(Duration::from_secs(3_600));
            Dispatch::new(tracing_subscriber::registry().with(omni().with_keep(keep)))
        }
        "omni_info" => {
            let layer = omni().with_max_level(LevelFilter::INFO);
            Dispatch::new(tracing_subscriber::registry().with(layer))
        }
        "omni_off" => Dispatch::new(tracing_subscriber::registry().with(omni().with_log_stats(false))),
        "fmt_json" => {
            let json = fmt::layer().json().with_span_events(FmtSpan::CLOSE).with_writer(io::sink);
            Dispatch::new(tracing_subscriber::registry().with(json))
        }
        "opentelemetry" => {
            let provider = SdkTracerProvider::builder().with_simple_exporter(NullExporter).build();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
            Dispatch::new(tracing_subscriber::registry().with(layer))
        }
        _ => return None,
    })
}

/// Measures everything in this process and prints it.
fn run_set_up(name: &str) {
    let mut figures = Figures::new();
    if name == "omni" {
        let started = Instant::now();
        let layer = OmniMetricsLayer::new().with_writer(io::sink);
        let dispatch = Dispatch::new(tracing_subscriber::registry().with(layer));
        tracing::dispatcher::with_default(&dispatch, || workload::spans("first"));
        figures.insert("start-up".into(), started.elapsed().as_nanos() as f64);
    }
    if let Some(dispatch) = set_up(name) {
        // As `.init()` does: the global default, and `log` connected with it.
        let installed = dispatch.try_init();
        assert!(installed.is_ok());
    }
    if name.ends_with("_threads") {
        measure_threads(name, &mut figures);
    } else if name == "omni_enters" {
        let _request = info_span!("request", request_id = "open").entered();
        let stage = info_span!("stage", stage_id = 0);
        figures.insert("enter and exit".into(), time(2_000, || drop(stage.enter())));
    } else if name == "by_hand" {
        let by_hand = workload::ByHand::default();
        figures.insert("request".into(), time(100, || drop(by_hand.request("r1", &mut io::sink()))));
    } else {
        measure(&mut figures);
    }
    figures.insert(
        "clocks".into(),
        time(2_000, || {
            black_box((Instant::now(), Instant::now()));
        }),
    );
    for (figure, value) in figures {
        println!("{figure}={value}");
    }
}

fn measure(figures: &mut Figures) {
    let mut add = |name: &str, value: f64| {
        figures.insert(name.into(), value);
    };
    add("request", time(100, || workload::spans("r1")));
    let before = ALLOCATIONS.get();
    workload::spans("r1");
    add("allocations", (ALLOCATIONS.get() - before) as f64);
    add("end", ends());

    let _request = info_span!("request", request_id = "open").entered();
    let stage = info_span!("stage", stage_id = 0, output = Empty);
    add(
        "output",
        time(2_000, || {
            stage.record("output", 1_u64);
        }),
    );
    add("enter and exit", time(2_000, || drop(stage.enter())));
    add("new and close", time(1_000, || drop(info_span!("stage", stage_id = 0))));
    add("foreign span", time(2_000, || drop(info_span!("foreign").entered())));
    add("disabled event", time(2_000, || trace!("disabled")));
    add("foreign event", time(2_000, || info!("foreign")));
    add("disabled span", time(2_000, || drop(trace_span!("disabled"))));
    add("suppressed log", time(2_000, || log::trace!("suppressed")));
}

/// What a request takes where threads share a layer, and where as many processes share nothing.
///
/// The layer is the global default, since `tracing` counts the references to any other at every span. And the
/// main thread makes no span here: the registry keeps what its second and its third thread have entered in one
/// cache line, and their fight for it would be taken for ours.
fn measure_threads(set_up: &str, figures: &mut Figures) {
    for count in THREADS {
        figures.insert(format!("{count} threads"), on_threads(count));
        figures.insert(format!("{count} processes"), in_processes(count, set_up));
    }
}

/// Nanoseconds a run.
fn time(runs: u32, mut run: impl FnMut()) -> f64 {
    least(SAMPLES, || {
        let started = Instant::now();
        (0..runs).for_each(|_| run());
        started.elapsed().as_nanos() as f64 / f64::from(runs)
    })
}

/// Nanoseconds a request where this many threads serve them at once, each with an id of its own.
fn on_threads(threads: usize) -> f64 {
    let (begin, end) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let serve = |thread: usize| {
        let id = format!("thread-{thread}");
        serve(&id);
        for _ in 0..CROWDS {
            begin.wait();
            serve(&id);
            end.wait();
        }
    };
    thread::scope(|scope| {
        let serve = &serve;
        (0..threads).for_each(|thread| drop(scope.spawn(move || serve(thread))));
        least(CROWDS, || {
            let started = Instant::now();
            begin.wait();
            end.wait();
            nanoseconds_a_request(started)
        })
    })
}

/// Nanoseconds a request where this many processes serve them at once.
fn in_processes(processes: usize, set_up: &str) -> f64 {
    let mut processes: Vec<_> = (0..processes).filter_map(|_| Served::start(set_up).ok()).collect();
    least(CROWDS, || {
        let started = Instant::now();
        let asked = processes.iter_mut().all(|process| process.ask().is_ok());
        let answered = processes.iter_mut().all(|process| process.answer().is_some());
        if asked && answered { nanoseconds_a_request(started) } else { f64::NAN }
    })
}

fn nanoseconds_a_request(started: Instant) -> f64 {
    started.elapsed().as_nanos() as f64 / f64::from(SERVED)
}

fn serve(id: &str) {
    (0..SERVED).for_each(|_| workload::spans(id));
}

/// A process that serves requests on one thread whenever it is asked.
struct Served {
    process: Child,
    questions: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Served {
    fn start(set_up: &str) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut process =
            command.args(["--serve", set_up]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let questions = process.stdin.take().ok_or_else(closed)?;
        let answers = BufReader::new(process.stdout.take().ok_or_else(closed)?).lines();
        let mut served = Self { process, questions, answers };
        // The first requests make its tables.
        served.ask()?;
        served.answer().ok_or_else(closed)?;
        Ok(served)
    }

    fn ask(&mut self) -> io::Result<()> {
        self.questions.write_all(b"\n")
    }

    fn answer(&mut self) -> Option<String> {
        self.answers.next()?.ok()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The other side of [`Served`].
fn serve_when_asked(name: &str) {
    let installed = set_up(name).is_some_and(|dispatch| dispatch.try_init().is_ok());
    assert!(installed);
    for _ in io::stdin().lines() {
        serve("process");
        println!("served");
    }
}

/// Nanoseconds that the end of a request takes, whose stages and transfers have closed before.
fn ends() -> f64 {
    // The layer keeps the objects of 16 requests for reuse.
    const OPEN: [&str; 8] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"];
    const RUNS: u32 = 10;
    least(SAMPLES, || {
        let mut taken = Duration::ZERO;
        for _ in 0..RUNS {
            let requests = OPEN.map(workload::open);
            let started = Instant::now();
            requests.into_iter().for_each(workload::end);
            taken += started.elapsed();
        }
        taken.as_nanos() as f64 / f64::from(RUNS) / OPEN.len() as f64
    })
}

fn least(samples: u32, sample: impl FnMut() -> f64) -> f64 {
    iter::repeat_with(sample).take(samples as usize).fold(f64::INFINITY, f64::min)
}

fn middle(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

/// Runs a set-up in a process of its own.
fn figures_of(set_up: &str) -> Figures {
    let output = env::current_exe().and_then(|this| Command::new(this).args(["--set-up", set_up]).output());
    let printed =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    printed
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Keeps a core and its caches busy until it is killed.
fn neighbour() {
    let mut words = vec![1_u64; 8 << 20];
    loop {
        for at in 0..words.len() {
            let from = words.get(at * 4_099 % words.len()).copied().unwrap_or_default();
            if let Some(word) = words.get_mut(at) {
                *word = word.wrapping_mul(from | 1);
            }
        }
        black_box(&mut words);
    }
}

/// Enter and exit against two clock readings in nine processes, on a machine that does nothing else, and
/// beside programs that keep all cores busy.
fn compare_enters() {
    println!("\n| enter + exit against two std clock reads, nine processes | least | median | most |");
    println!("|---|---|---|---|");
    for (name, programs) in
        [("quiet", 0), ("busy", thread::available_parallelism().map_or(1, |cores| cores.get()))]
    {
        let start = |_| Command::new(env::current_exe().ok()?).arg("--neighbour").spawn().ok();
        let mut neighbours: Vec<_> = (0..programs).filter_map(start).collect();
        let mut ratios: Vec<f64> = (0..9)
            .map(|_| figures_of("omni_enters"))
            .filter_map(|figures| Some(figures.get("enter and exit")? / figures.get("clocks")?))
            .collect();
        for neighbour in &mut neighbours {
            let _ = neighbour.kill();
            let _ = neighbour.wait();
        }
        let median = middle(&mut ratios);
        let [least, most] = [ratios.first(), ratios.last()].map(|ratio| ratio.copied().unwrap_or_default());
        println!("| {name} | {least:.2} | {median:.2} | {most:.2} |");
    }
}

struct Target {
    what: &'static str,
    against: &'static str,
    at_most: f64,
    aim: f64,
    ratio: fn(&BTreeMap<&str, Figures>) -> Option<f64>,
}

fn get(round: &BTreeMap<&str, Figures>, set_up: &str, figure: &str) -> Option<f64> {
    round.get(set_up)?.get(figure).copied()
}

fn ratio(round: &BTreeMap<&str, Figures>, figure: &str, against: &str, other: &str) -> Option<f64> {
    Some(get(round, "omni", figure)? / get(round, against, other)?)
}

/// How much longer a request takes on this many threads of one subscriber than in as many processes.
fn of_threads(round: &BTreeMap<&str, Figures>, set_up: &str, threads: usize) -> Option<f64> {
    let figure = |name: String| get(round, set_up, &name);
    Some(figure(format!("{threads} threads"))? / figure(format!("{threads} processes"))?)
}

const TARGETS: [Target; 19] = [
    Target {
        what: "request with its line",
        against: "no-op layer + the line by hand",
        at_most: 0.75,
        aim: 0.7,
        ratio: |round| {
            let by_hand = get(round, "noop", "request")? + get(round, "by_hand", "request")?;
            Some(get(round, "omni", "request")? / by_hand)
        },
    },
    Target {
        what: "request with its line",
        against: "fmt json with close events",
        at_most: 0.09,
        aim: 0.07,
        ratio: |round| ratio(round, "request", "fmt_json", "request"),
    },
    Target {
        what: "request with its line",
        against: "tracing-opentelemetry, null exporter",
        at_most: 0.35,
        aim: 0.30,
        ratio: |round| ratio(round, "request", "opentelemetry", "request"),
    },
    Target {
        what: "enter + exit of a stage span",
        against: "two std clock reads",
        at_most: 1.0,
        aim: 0.7,
        ratio: |round| ratio(round, "enter and exit", "omni", "clocks"),
    },
    Target {
        what: "new + close of a stage span",
        against: "no-op layer",
        at_most: 3.0,
        aim: 2.0,
        ratio: |round| ratio(round, "new and close", "noop", "new and close"),
    },
    Target {
        what: "switched off, whole request",
        against: "the bare filter",
        at_most: 1.15,
        aim: 1.05,
        ratio: |round| Some(get(round, "omni_off", "request")? / get(round, "filter", "request")?),
    },
    Target {
        what: "disabled foreign event",
        against: "no-op layer",
        at_most: 0.25,
        aim: 0.10,
        ratio: |round| ratio(round, "disabled event", "noop", "disabled event"),
    },
    Target {
        what: "foreign info! event",
        against: "no-op layer",
        at_most: 0.25,
        aim: 0.10,
        ratio: |round| ratio(round, "foreign event", "noop", "foreign event"),
    },
    Target {
        what: "recorded output, ns more than tracing's own record",
        against: "no-op layer",
        at_most: 60.0,
        aim: 40.0,
        ratio: |round| Some(get(round, "omni", "output")? - get(round, "noop", "output")?),
    },
    Target {
        what: "disabled foreign span",
        against: "no-op layer",
        at_most: 0.25,
        aim: 0.05,
        ratio: |round| ratio(round, "disabled span", "noop", "disabled span"),
    },
    Target {
        what: "foreign INFO span in a request",
        against: "no-op layer",
        at_most: 1.3,
        aim: 1.1,
        ratio: |round| ratio(round, "foreign span", "noop", "foreign span"),
    },
    Target {
        what: "end of a request that is left out",
        against: "formatting and writing its line",
        at_most: 1.0,
        aim: 0.6,
        ratio: |round| {
            let (kept, left_out) = (get(round, "omni", "end")?, get(round, "omni_left_out", "end")?);
            Some((left_out - get(round, "noop", "end")?) / (kept - left_out))
        },
    },
    Target {
        what: "suppressed log::trace!, with_max_level(INFO)",
        against: "no layer",
        at_most: 1.5,
        aim: 1.1,
        ratio: |round| {
            Some(get(round, "omni_info", "suppressed log")? / get(round, "none", "suppressed log")?)
        },
    },
    Target {
        what: "suppressed log::trace!, every level",
        against: "no layer",
        at_most: 200.0,
        aim: 150.0,
        ratio: |round| ratio(round, "suppressed log", "none", "suppressed log"),
    },
    Target {
        what: "two threads, time a request",
        against: "processes, which share nothing",
        at_most: 1.1,
        aim: 1.05,
        ratio: |round| of_threads(round, "omni_threads", 2),
    },
    Target {
        what: "four threads, time a request",
        against: "processes, which share nothing",
        at_most: 1.1,
        aim: 1.05,
        ratio: |round| of_threads(round, "omni_threads", 4),
    },
    Target {
        what: "eight threads, time a request",
        against: "processes, which share nothing",
        at_most: 1.1,
        aim: 1.05,
        ratio: |round| of_threads(round, "omni_threads", 8),
    },
    Target {
        what: "heap allocations a span, warm",
        against: "",
        at_most: 2.0,
        aim: 1.0,
        ratio: |round| Some(get(round, "omni", "allocations")? / 6.0),
    },
    Target {
        what: "new() until the first line, ms",
        against: "",
        at_most: 1.0,
        aim: 0.1,
        ratio: |round| Some(get(round, "omni", "start-up")? / 1e6),
    },
];

/// Each figure of each set-up, the least of all rounds.
fn least_of<'a>(rounds: &[BTreeMap<&'a str, Figures>]) -> BTreeMap<&'a str, Figures> {
    let mut least: BTreeMap<&str, Figures> = BTreeMap::new();
    for (set_up, figures) in rounds.iter().flatten() {
        let so_far = least.entry(set_up).or_default();
        for (figure, value) in figures {
            so_far.entry(figure.clone()).and_modify(|least| *least = least.min(*value)).or_insert(*value);
        }
    }
    least
}

fn compare() {
    const SET_UPS: [&str; 12] = [
        "none",
        "noop",
        "filter",
        "omni",
        "omni_left_out",
        "omni_info",
        "omni_off",
        "noop_threads",
        "omni_threads",
        "by_hand",
        "fmt_json",
        "opentelemetry",
    ];
    let rounds: Vec<BTreeMap<&str, Figures>> =
        (0..ROUNDS).map(|_| SET_UPS.iter().map(|set_up| (*set_up, figures_of(set_up))).collect()).collect();

    let least = least_of(&rounds);
    println!("| what | against | ratio | spread | at most | aim |");
    println!("|---|---|---|---|---|---|");
    for Target { what, against, at_most, aim, ratio } in TARGETS {
        let mut ratios: Vec<f64> = rounds.iter().filter_map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        let quartile = |quarters: usize| ratios.get(ratios.len() * quarters / 4).copied().unwrap_or_default();
        let spread = quartile(3) - quartile(1);
        let ratio = ratio(&least).unwrap_or(f64::NAN);
        let verdict = if ratio <= aim {
            ""
        } else if ratio <= at_most {
            " (no aim)"
        } else {
            " (MISSED)"
        };
        println!("| {what} | {against} | {ratio:.3}{verdict} | ±{:.3} | {at_most} | {aim} |", spread / 2.0);
    }
    println!("\n| a request on threads against processes | two | four | eight |");
    println!("|---|---|---|---|");
    for set_up in ["noop_threads", "omni_threads"] {
        let ratios = THREADS.map(|threads| of_threads(&least, set_up, threads).unwrap_or(f64::NAN));
        println!("| {set_up} | {:.2} | {:.2} | {:.2} |", ratios[0], ratios[1], ratios[2]);
    }
    println!(
        "\nspread: half the distance between the quartiles\n\nnanoseconds, the least of {ROUNDS} processes:"
    );
    let figures = [
        "request",
        "end",
        "enter and exit",
        "new and close",
        "output",
        "foreign span",
        "foreign event",
        "disabled event",
        "disabled span",
        "suppressed log",
    ];
    println!("| set-up | {} |", figures.join(" | "));
    println!("|---|{}", "---|".repeat(figures.len()));
    for set_up in SET_UPS {
        let values = figures.map(|figure| {
            get(&least, set_up, figure).map_or("–".to_owned(), |value| format!("{value:.1}"))
        });
        println!("| {set_up} | {} |", values.join(" | "));
    }
}
