//! `what-if`: a run replayed with other numbers of workers, batch sizes or rates.

use std::{collections::BTreeMap, io::Write, num::NonZeroU32, process::ExitCode};

use super::{
    amount::amount,
    argument::at_least_one,
    failure::{Failure, Result, complain},
    files::Files,
    groups::{GroupArgs, Grouping, Percent},
    help::Help,
    input::Inputs,
    json,
    log_line::LogLine,
    paint,
    percentiles::{PercentileArgs, with_default},
    quantity::Stage,
};
use crate::{
    Line, StageRow,
    model::id::{OrderedId, unordered},
    write::columns::{grouped, id},
};

mod clients;
mod covered;
mod figures;
mod groups;
mod period;
mod processes;
mod rate;
mod replay;
mod rows;
mod setting;
mod station;
mod times;
mod trace;

use clients::InFlight;
use covered::Covered;
use figures::{Prediction, Run};
use groups::PredictedGroups;
use processes::{Processes, RowLogs, row_logs};
use replay::{Arrivals, replay};
use setting::Setting;
use station::{Station, stations};
use trace::Request;

/// How many requests are replayed: the first ones.
const LIMIT: usize = 200_000;

pub(super) const HELP: Help = Help {
    examples: &[
        ("Two workers for stage 2 instead of those of the log", "omni-metrics what-if --workers 2=2 run.log"),
        (
            "The same, with 1.5 times as many requests",
            "omni-metrics what-if --workers code2wav=2 --rate 1.5 run.log",
        ),
        ("A load test with 16 clients", "omni-metrics what-if --concurrency 16 --batch 0=16 run.log"),
        (
            "The p99.9 end to end if 1.5 times as many requests arrive, for a spreadsheet",
            "omni-metrics what-if --rate 1.5 --percentiles 99.9 --csv run.log",
        ),
        (
            "Two workers for stage 2, and the times of each model",
            "omni-metrics what-if --workers 2=2 --by fields.model run.log",
        ),
    ],
    note: Some(
        "A worker is a slot of a stage that serves one request, or one batch, at a time. It is not a \
         process: six processes that serve four requests each at a time are 24 workers. The log's number is \
         the most that were served at once for at least 1 % of the time in which the stage worked. Several \
         processes of a stage are replayed as one that has the workers of all. Requests a second are counted \
         until 99 % of the requests have ended. --by and --every group the requests by their values and \
         their ends in the log; all groups are replayed together.",
    ),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
#[command(mut_arg("percentiles", |arg| with_default(arg, "50,90,99; of stages and groups: 50,99")))]
pub(super) struct Args {
    /// The number of workers of a stage, or with a sign how many more or fewer than in the log. A worker is
    /// not a process, but serves one request, or one batch, at a time
    ///
    /// STAGE is the id or the name of the stage. Examples: `--workers code2wav=4`, `--workers code2wav=+1`
    #[arg(long, value_name = "STAGE=N", value_parser = Setting::parse)]
    workers: Vec<Setting>,
    /// The most requests in a batch of a stage, or with a sign how many more or fewer than in the log
    #[arg(long, value_name = "STAGE=N", value_parser = Setting::parse)]
    batch: Vec<Setting>,
    /// How many times as many requests arrive a second: 2 for twice as many, 0.5 for half
    #[arg(long, value_name = "FACTOR", value_parser = factor, default_value_t = 1.0)]
    rate: f64,
    /// N clients instead of the arrivals of the log; each sends a request when its last one is answered
    #[arg(long, value_name = "N", conflicts_with = "rate", value_parser = at_least_one,
          allow_negative_numbers = true)]
    concurrency: Option<NonZeroU32>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    /// Comma-separated values: a row for each number of the run, of a stage and of a group
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    percentiles: PercentileArgs,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    groups: GroupArgs,
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (0.001..=1000.0).contains(&factor) => Ok(factor),
        _ => Err("expected a number from 0.001 to 1000, such as `1.5` for 1.5 times as many".to_owned()),
    }
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let mut inputs = Inputs::new(&args.files)?;
    let grouping = args.groups.grouping();
    let mut log = Log::default();
    inputs.map(
        || {
            let grouping = grouping.clone();
            move |line: &mut LogLine| Entry::of(line, grouping.as_ref())
        },
        |place, entry| {
            // A line that occurs twice would count as two requests.
            if place.twin.is_none() {
                log.add(entry);
            }
            Ok(())
        },
    )?;
    let prediction = predict(args, grouping.as_ref(), &inputs, log)?;
    if args.json {
        json::write(out, &prediction)?;
    } else if args.csv {
        prediction.sentences.iter().for_each(|sentence| complain(sentence));
        prediction.write_csv(out)?;
    } else {
        let mut text = Vec::new();
        prediction.print(&args.percentiles, &mut text)?;
        out.write_all(paint::tables(&String::from_utf8_lossy(&text)).as_bytes())?;
    }
    Ok(inputs.exit_code(0))
}

/// A line, as far as a replay needs it.
enum Entry {
    /// A request, and the logs of its rows.
    Request(Request, RowLogs),
    /// A request that stands for others, which have no line.
    Sampled,
    Row,
    Other,
}

impl Entry {
    fn of(line: &mut LogLine, grouping: Option<&Grouping>) -> Self {
        let names = grouping.map(|grouping| grouping.names(line)).unwrap_or_default();
        match &line.line {
            Line::Request(line) if line.weight() > 1 => Self::Sampled,
            Line::Request(request) => {
                Self::Request(Request { names, ..Request::of(request) }, row_logs(line))
            }
            Line::Stage(_) | Line::Transfer(_) => Self::Row,
            Line::Summary(_) | Line::Open(_) => Self::Other,
        }
    }
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    processes: Processes,
    sampled: u64,
    rows: u64,
    /// Requests past the limit.
    more: u64,
}

impl Log {
    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Request(request, logs) if self.requests.len() < LIMIT => {
                self.requests.push(request);
                self.processes.add(logs);
            }
            Entry::Request(..) => self.more += 1,
            Entry::Sampled => self.sampled += 1,
            Entry::Row => self.rows += 1,
            Entry::Other => {}
        }
    }
}

fn predict(args: &Args, grouping: Option<&Grouping>, inputs: &Inputs, log: Log) -> Result<Prediction> {
    let Log { mut requests, processes, sampled, rows, more } = log;
    let (selection, unjoined) = (&inputs.selection, inputs.read.unjoined());
    if sampled > 0 {
        let lines = amount(sampled, "line stands", "lines stand");
        return Err(Failure::Io(format!(
            "the log is sampled: {lines} for further requests, without which too little waiting is predicted"
        )));
    }
    if requests.iter().all(|request| request.visits.is_empty()) {
        unjoined.iter().for_each(|sentence| complain(sentence));
        return Err(Failure::Io("no request of the log has a stage with a start and a time".to_owned()));
    }
    requests.sort_by_key(|request| request.created);
    let stations = stations(&mut requests);
    let scenario = scenario(args, &stations)?;
    let in_flight = InFlight::of(&requests);
    let (as_logged, as_asked) = match args.concurrency {
        None => (Arrivals::Open(1.0), Arrivals::Open(args.rate)),
        Some(clients) => (Arrivals::Closed(in_flight.most), Arrivals::Closed(clients.get() as usize)),
    };
    let first = requests.first().map_or(0, |request| request.created);
    let last = requests.iter().map(|request| request.created + request.e2e).max().unwrap_or(first);
    let covered = Covered::of(selection, [first, last], more > 0);
    let percents = args.percentiles.or(&Percent::USUAL);
    let logged = Run::logged(&requests, &stations, covered, percents);
    let replayed = replay(&requests, &stations, as_logged);
    let predicted = replay(&requests, &scenario, as_asked);
    let groups = grouping
        .map(|grouping| PredictedGroups::of(grouping, percents, &requests, &replayed.e2e, &predicted.e2e));
    groups.iter().flat_map(|groups| &groups.remarks).for_each(|remark| complain(remark));
    let runs = [
        logged,
        Run::of(replayed, &stations, covered.replayed(as_logged), percents),
        Run::of(predicted, &scenario, covered.replayed(as_asked), percents),
    ];
    let unjoined = unjoined.map(|sentence| format!("{sentence} {MISSING}"));
    let on_rates = selection.on_rates(selection.covered([first, last]));
    let sentences =
        left_out(rows.saturating_sub(inputs.read.rows_of_workers), more).chain(processes.remark(&stations));
    let sentences = sentences.chain(on_rates);
    Ok(Prediction::new(unjoined, sentences.collect(), runs, groups, as_asked, in_flight))
}

/// What a prediction lacks if rows are in no request.
const MISSING: &str = "Stages are missing from the prediction, or have too little to do.";

/// What else the replay leaves out.
fn left_out(rows: u64, more: u64) -> impl Iterator<Item = String> {
    let rows = (rows > 0).then(|| {
        let them = if rows == 1 { "is" } else { "are" };
        let rows = amount(rows, "row is", "rows are");
        format!(
            "{rows} late or without the id of a request, and {them} left out. {MISSING} \
             `omni-metrics join` puts late rows into their requests."
        )
    });
    let more = (more > 0).then(|| {
        let more = amount(more, "request is", "requests are");
        format!("{more} left out: the first {} are replayed.", grouped(&LIMIT.to_string()))
    });
    rows.into_iter().chain(more)
}

/// The stations with the numbers of the arguments.
fn scenario(args: &Args, stations: &BTreeMap<OrderedId, Station>) -> Result<BTreeMap<OrderedId, Station>> {
    let mut scenario = stations.clone();
    for (option, settings) in [("--workers", &args.workers), ("--batch", &args.batch)] {
        let mut set = BTreeMap::new();
        for setting in settings {
            let (stage, _) = named(&mut scenario, &setting.stage)?;
            if let Some(other) = set.insert(stage.clone(), setting).filter(|other| *other != setting) {
                let both = format!("{option} {other} and {option} {setting}");
                return Err(Failure::Io(format!("{both} set stage {stage} twice: give one of them")));
            }
        }
    }
    for setting in &args.workers {
        let (_, station) = named(&mut scenario, &setting.stage)?;
        station.workers = setting.of(station.workers).map_err(|why| refused("--workers", setting, &why))?;
    }
    for setting in &args.batch {
        let (stage, station) = named(&mut scenario, &setting.stage)?;
        let size = station.batch_limit;
        let limit = setting.of(size).map_err(|why| refused("--batch", setting, &why))?;
        if station.batches.is_none() && limit > 1 {
            let requests = amount(size as u64, "request", "requests");
            return Err(Failure::Io(format!(
                "--batch {setting}: all batches of stage {stage} have {requests}, so the log does not \
                 tell how long others take"
            )));
        }
        station.batch_limit = limit;
    }
    Ok(scenario)
}

fn refused(option: &str, setting: &Setting, why: &str) -> Failure {
    Failure::Io(format!("{option} {setting}: {why}"))
}

/// The station that an argument names by its id or its name.
fn named<'a>(
    stations: &'a mut BTreeMap<OrderedId, Station>,
    name: &str,
) -> Result<(String, &'a mut Station)> {
    let wanted = Stage::new(name);
    let known: Vec<_> = stations.iter().map(|(stage, station)| station.called(*stage)).collect();
    let found = stations.iter_mut().find(|(stage, station)| {
        let row = StageRow {
            stage_id: unordered(**stage),
            stage_name: station.stage_name.clone(),
            ..StageRow::default()
        };
        wanted.is_of(&row)
    });
    let unknown = || Failure::Io(format!("the log has no stage {name}, but {}", known.join(", ")));
    found.map(|(stage, station)| (station.called(*stage), station)).ok_or_else(unknown)
}

impl Station {
    /// The stage, as a person names it.
    fn called(&self, stage: OrderedId) -> String {
        let name = self.stage_name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        format!("{}{name}", id(unordered(stage)))
    }
}
