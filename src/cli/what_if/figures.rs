//! The figures of a run, as it was, replayed and predicted.

use std::{collections::BTreeMap, io::Write};

use serde::Serialize;

use super::{
    clients::InFlight,
    covered::Covered,
    groups::PredictedGroups,
    period::Period,
    rate::Rate,
    replay::{Arrivals, Outcome, StageOutcome},
    station::Station,
    times::Times,
    trace::Request,
};
use crate::{
    Millis,
    cli::{
        failure::Result,
        groups::Percent,
        percentiles::PercentileArgs,
        ratio::as_change,
        sentence::{WIDTH, in_lines},
    },
    model::id::{OrderedId, unordered},
    write::columns::{Cell, Columns},
};

/// From this difference on, the replay of the log as it was does not fit the log.
const FITS: f64 = 0.2;
/// From this share of time on, a stage works all the time.
const FULL: f64 = 0.98;
/// The queue of such a stage grows if the last third of its visits waited for this many times as long as the
/// first third.
const GROWS: f64 = 1.5;

/// A stage has a queue only now if its requests wait this many times as long at p99.
const ONLY_NOW: u64 = 100;
/// And for more than this part of the end-to-end time at p99.
const FELT: u64 = 100;

/// Which percentiles the text has of stages and groups if none are chosen.
const FEW: [Percent; 2] = [Percent::USUAL[0], Percent::USUAL[2]];

/// What the numbers of stages are. Queue times of the layer begin with a span.
const MEANINGS: &str = "workers: how many requests, or batches, all processes of the stage serve at once\n\
                        waiting_ms: from the arrival of a request at the stage until a worker takes it";

/// A run in numbers.
#[derive(Debug, Serialize)]
pub(super) struct Run {
    #[serde(rename = "requests_per_s")]
    pub(super) rate: Rate,
    pub(super) e2e_total_ms: Times,
    pub(super) stages: Vec<StageFigures>,
}

#[derive(Debug, Serialize)]
pub(super) struct StageFigures {
    /// Its id and its name.
    stage: String,
    #[serde(skip)]
    pub(super) stage_id: Option<u64>,
    #[serde(skip)]
    pub(super) stage_name: Option<String>,
    pub(super) workers: usize,
    /// The share of the [`Period`] for which the workers were not free.
    pub(super) utilisation: f64,
    /// The most requests that a batch may have.
    pub(super) batch_limit: usize,
    pub(super) waiting_ms: Times,
    #[serde(skip)]
    queue_grows: bool,
}

/// The three runs.
#[derive(Debug, Serialize)]
pub(super) struct Prediction {
    pub(super) logged: Run,
    pub(super) replayed: Run,
    pub(super) predicted: Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) groups: Option<PredictedGroups>,
    /// What was changed, and what to think of the prediction, in sentences.
    pub(super) sentences: Vec<String>,
    /// Whether the first of them says that the log needs `join`. The text has it before the figures.
    #[serde(skip)]
    is_unjoined: bool,
}

impl Run {
    /// The run of the log.
    pub(super) fn logged(
        requests: &[Request],
        stations: &BTreeMap<OrderedId, Station>,
        covered: Covered,
        percents: &[Percent],
    ) -> Self {
        let mut outcome = Outcome {
            e2e: requests.iter().map(|request| request.e2e).collect(),
            created: requests.iter().map(|request| request.created).collect(),
            stages: BTreeMap::new(),
        };
        for (stage, Station { services, .. }) in stations {
            let stage_outcome = StageOutcome { services: services.clone(), waits: Vec::new() };
            outcome.stages.insert(*stage, stage_outcome);
        }
        for visit in requests.iter().flat_map(|request| &request.visits) {
            if let Some(StageOutcome { waits, .. }) = outcome.stages.get_mut(&visit.stage) {
                waits.push(visit.start.saturating_sub(visit.arrival));
            }
        }
        Self::of(outcome, stations, covered, percents)
    }

    /// A run whose requests are all those that ended in the covered time.
    pub(super) fn of(
        outcome: Outcome,
        stations: &BTreeMap<OrderedId, Station>,
        covered: Covered,
        percents: &[Percent],
    ) -> Self {
        let Outcome { e2e, created, mut stages } = outcome;
        let ends: Vec<_> = created.iter().zip(&e2e).map(|(created, e2e)| created + e2e).collect();
        let period = Period::of(created.iter().copied().zip(ends.iter().copied()));
        let first = created.iter().min().copied().unwrap_or_default();
        let rate = Rate::of(&ends, first, period, covered);
        let stages = stations.iter().map(|(stage, station)| {
            let StageOutcome { waits, services } = stages.remove(stage).unwrap_or_default();
            let worked = period.within(services.into_iter());
            StageFigures {
                stage: station.called(*stage),
                stage_id: unordered(*stage),
                stage_name: station.stage_name.clone(),
                workers: station.workers,
                utilisation: worked / period.seconds() / station.workers as f64,
                batch_limit: station.batch_limit,
                queue_grows: grows(&waits),
                waiting_ms: Times::of(waits, percents),
            }
        });
        Self { rate, stages: stages.collect(), e2e_total_ms: Times::of(e2e, percents) }
    }
}

impl Run {
    /// Whether each stage may have more workers than the log tells: it has a queue now, and had none in the
    /// log with as many workers.
    fn guessed(&self, logged: &Self) -> Vec<bool> {
        let wait = |stage: &StageFigures| stage.waiting_ms.p99.as_nanos();
        let felt = self.e2e_total_ms.p99.as_nanos() / FELT;
        let pairs = logged.stages.iter().zip(&self.stages);
        let is_guessed = |(before, now): (&StageFigures, &StageFigures)| {
            before.workers == now.workers && wait(now) > felt.max(wait(before).saturating_mul(ONLY_NOW))
        };
        pairs.map(is_guessed).collect()
    }

    /// What to know of the stages whose workers work all the time, and of those whose number of workers is a
    /// guess.
    fn on_stages(&self, logged: &Self, is_open: bool) -> impl Iterator<Item = String> {
        let stages = || self.stages.iter().zip(self.guessed(logged));
        let full = stages().filter(|(stage, _)| stage.is_full());
        let full = full.map(|(stage, is_guessed)| stage.on_its_load(is_guessed, is_open));
        let guessed = stages().filter(|(stage, is_guessed)| *is_guessed && !stage.is_full());
        let named: Vec<_> =
            guessed.map(|(StageFigures { stage, workers, .. }, _)| format!("{stage} ({workers})")).collect();
        let guessed = (!named.is_empty()).then(|| {
            format!(
                "No queue in the log, but one in the prediction: {}. The number of workers, in brackets, is \
                 the most that worked at once for at least 1 % of the time in which the stage worked. If \
                 there are more, requests wait less than predicted; --workers sets the number.",
                named.join(", ")
            )
        });
        full.chain(guessed).collect::<Vec<_>>().into_iter()
    }
}

impl StageFigures {
    fn is_full(&self) -> bool {
        self.utilisation > FULL
    }

    /// That its workers work all the time. If their number is a guess, that is the condition.
    fn on_its_load(&self, is_guessed: bool, is_open: bool) -> String {
        let Self { stage, workers, .. } = self;
        let (subject, hint) = match is_guessed {
            true => (
                format!(
                    "If stage {stage} has no more workers than the log shows ({workers}, the most that \
                     worked at once for at least 1 % of the time in which it worked, while it had no \
                     queue), it"
                ),
                " --workers sets the number.",
            ),
            false => (format!("Stage {stage}"), ""),
        };
        let load = match is_open && self.queue_grows {
            true => {
                "has no room left: its queue grows for as long as requests arrive like this, so the \
                 predicted times depend on the length of the log."
            }
            false => "works all the time: it limits the requests a second.",
        };
        format!("{subject} {load}{hint}")
    }
}

/// Whether waits, in the order of the visits, become longer and longer.
fn grows(waits: &[u64]) -> bool {
    let third = waits.len() / 3;
    let sum = |waits: Option<&[u64]>| waits.unwrap_or_default().iter().map(|wait| *wait as f64).sum::<f64>();
    sum(waits.get(waits.len() - third..)) > GROWS * sum(waits.get(..third))
}

impl Prediction {
    /// The sentence that the log needs `join` comes first, then those on lines and rows that are left out.
    pub(super) fn new(
        unjoined: Option<String>,
        mut sentences: Vec<String>,
        runs: [Run; 3],
        groups: Option<PredictedGroups>,
        arrivals: Arrivals,
        in_flight: InFlight,
    ) -> Self {
        let [logged, replayed, predicted] = runs;
        let is_open = matches!(arrivals, Arrivals::Open(_));
        sentences.extend(in_flight.remark().filter(|_| is_open));
        match arrivals {
            Arrivals::Open(1.0) => sentences.push("Requests arrive as in the log.".to_owned()),
            Arrivals::Open(rate) => {
                sentences.push(format!("Requests arrive as in the log, {rate} times as often."));
            }
            Arrivals::Closed(clients) => sentences.push(format!(
                "{clients} requests are in flight at all times; in the log, {} were.",
                in_flight.most
            )),
        }
        let both = |of: fn(&Times) -> Millis| [&logged, &replayed].map(|run| of(&run.e2e_total_ms).as_f64());
        let (p50, p99) = (both(|times| times.p50), both(|times| times.p99));
        sentences.push(format!(
            "A replay without changes differs from the log by {} at e2e p50 and {} at p99. The change is \
             from the replayed to the predicted run.",
            relative(p50),
            relative(p99),
        ));
        if [p50, p99].iter().any(|[logged, replayed]| (replayed - logged).abs() > FITS * logged) {
            sentences.push(
                "That is much: these stages are not the queues that the replay takes them for, so do not \
                 rely on the prediction."
                    .to_owned(),
            );
        }
        sentences.extend(Rate::remark([&logged, &replayed, &predicted].map(|run| run.rate)));
        sentences.extend(predicted.on_stages(&logged, is_open));
        let is_unjoined = unjoined.is_some();
        let sentences = unjoined.into_iter().chain(sentences).collect();
        Self { logged, replayed, predicted, groups, sentences, is_unjoined }
    }

    /// Of stages and groups, fewer percentiles are shown if none are chosen.
    pub(super) fn print(&self, percentiles: &PercentileArgs, out: &mut impl Write) -> Result<()> {
        let Self { logged, replayed, predicted, groups, sentences, is_unjoined } = self;
        let (before, after) = sentences.split_at(usize::from(*is_unjoined));
        before.iter().try_for_each(|sentence| writeln!(out, "{}\n", in_lines(sentence)))?;
        let (percents, few) = (percentiles.or(&Percent::USUAL), percentiles.or(&FEW));
        let runs = [logged, replayed, predicted];
        let heads = ["logged", "replayed", "predicted", "change"];
        let mut table = Columns::named("What if", heads);
        let rate = relative([replayed, predicted].map(|run| run.rate.per_s));
        let cells = runs.iter().map(|run| Cell::Decimal(run.rate.per_s));
        table.row("requests a second", cells.chain([Cell::Text(&rate)]));
        let mut row = |name: &str, of: &dyn Fn(&Times) -> Millis| {
            let change = relative([replayed, predicted].map(|run| of(&run.e2e_total_ms).as_f64()));
            let cells = runs.iter().map(|run| Cell::Time(of(&run.e2e_total_ms)));
            table.row(&format!("e2e_total_ms, {name}"), cells.chain([Cell::Text(&change)]));
        };
        row("mean", &|times| times.mean);
        for percent in percents {
            row(&percent.to_string(), &|times| times.at(*percent));
        }
        writeln!(out, "{}\n", table.fitted(WIDTH))?;
        let waits = few.iter().enumerate().map(|(at, percent)| match at {
            0 => format!("waiting_ms, {percent}"),
            _ => percent.to_string(),
        });
        let heads = ["", "workers", "busy"].map(str::to_owned).into_iter().chain(waits);
        let mut table = Columns::titled("Stage", heads);
        table.left(1);
        for ((before, replayed), after) in logged.stages.iter().zip(&replayed.stages).zip(&predicted.stages) {
            for (run, stage) in [("logged", before), ("replayed", replayed), ("predicted", after)] {
                let busy = format!("{:.0} %", stage.utilisation * 100.0);
                let cells = [Cell::Text(run), Cell::Count(stage.workers as u64), Cell::Text(&busy)];
                let waits = few.iter().map(|percent| Cell::Time(stage.waiting_ms.at(*percent)));
                table.row(&stage.stage, cells.into_iter().chain(waits));
            }
        }
        writeln!(out, "{}\n{MEANINGS}\n", table.fitted(WIDTH))?;
        if let Some(groups) = groups {
            writeln!(out, "{}\n", groups.table(few).fitted(WIDTH))?;
        }
        Ok(after.iter().try_for_each(|sentence| writeln!(out, "{}", in_lines(sentence)))?)
    }
}

/// By how much the second number differs from the first.
fn relative([before, after]: [f64; 2]) -> String {
    let ratio = after / before;
    if ratio.is_finite() { as_change(ratio) } else { String::new() }
}
