//! `why`: where the time of one request, or of the slowest ones, went, against the median request, and which
//! others were in the way.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::Write,
    mem,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use super::{
    amount::amount,
    argument::count,
    failure::{Failure, Result, complain},
    files::{Files, shown},
    groups::{GroupArgs, Grouping, Name, groups_of},
    help::Help,
    in_the_way::{Identity, InTheWay, Waiter},
    input::Inputs,
    json,
    log_line::LogLine,
    paint,
    running::{Running, Sign, Signs},
    sentence::in_lines,
    stage_names::StageNames,
};
use crate::{Line, RequestLine, write::columns::printable};

mod answer;
mod earlier;
mod few;
mod idle;
mod mostly;
mod rows;
mod sentences;
mod survey;
mod surveys;
mod tail;

use answer::{Answer, MeanRequest, OTHERS, Other, Question};
use survey::Slowest;
use surveys::{Surveyed, Surveys};
use tail::Tail;

pub(super) const HELP: Help = Help {
    examples: &[
        ("Why this request took as long as it did", "omni-metrics why req-0004 service.log"),
        ("Why the slowest hundredth is slow, and a request at p99", "omni-metrics why --p99 service.log"),
        ("The slowest request that did not fail", "omni-metrics why --slowest --where '!failed' service.log"),
        ("The slowest request of each model", "omni-metrics why --slowest --by fields.model service.log"),
        ("A row for each part of its time, for a spreadsheet", "omni-metrics why --csv req-0004 service.log"),
        (
            "The slowest request, with the rows of worker processes",
            "omni-metrics join --align-clocks *.log | omni-metrics why --slowest",
        ),
    ],
    note: Some(
        "The median request is no single one: it is the mean of the fifth of the requests in the middle of \
         the end-to-end times. With a percentile, the answer begins with all requests from it on: with \
         --p99, with the slowest hundredth, as `report` has it. With --by or --every, there is an answer \
         for each group, with a percentile and a median request of its own; a request that is chosen by its \
         id is compared with the median request of its group.",
    ),
    one: Some("The log has no line of the request."),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
#[command(override_usage = "omni-metrics why [OPTIONS] ID [FILE]...\n       \
                      omni-metrics why [OPTIONS] <--slowest|--p50|--p90|--p99|--p999|--percentile P> \
                      [FILE]...")]
pub(super) struct Args {
    /// The id of the request, if no option chooses one; if several requests have it, the last of them
    #[arg(value_name = "ID")]
    id: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
    /// One line of JSON, or one for each group
    #[arg(long)]
    json: bool,
    /// Comma-separated values: a row for each part of the time
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// How many requests are named that a stage worked for while this one waited; the rest is counted
    #[arg(long, value_name = "N", default_value = "3", value_parser = count, allow_negative_numbers = true)]
    others: u32,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    groups: GroupArgs,
}

/// Options that choose a request by its end-to-end time. A percentile takes the slowest request within 1 % of
/// it, and is answered for all requests above it too.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Choice {
    /// The slowest request
    #[arg(long)]
    slowest: bool,
    /// A request at the median of the end-to-end times
    #[arg(long)]
    p50: bool,
    /// A request at the 90th percentile
    #[arg(long)]
    p90: bool,
    /// A request at the 99th percentile
    #[arg(long)]
    p99: bool,
    /// A request at the 99.9th percentile
    #[arg(long)]
    p999: bool,
    /// A request at this percentile, from 0 to 100
    #[arg(long, value_name = "P", value_parser = percentile)]
    percentile: Option<f64>,
}

fn percentile(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "expected a number from 0 to 100, such as `99.5`".to_owned())
}

impl Choice {
    fn percentile(&self) -> Option<f64> {
        let flags =
            [(self.slowest, 100.0), (self.p50, 50.0), (self.p90, 90.0), (self.p99, 99.0), (self.p999, 99.9)];
        let flag = flags.iter().find(|(is_set, _)| *is_set).map(|(_, percentile)| *percentile);
        self.percentile.or(flag)
    }
}

pub(super) fn run(mut args: Args, out: &mut impl Write) -> Result<ExitCode> {
    let percentile = args.choice.percentile();
    let id = match (args.id.take(), percentile) {
        (None, None) => {
            let choices = "--slowest, --p99 or --percentile P";
            return Err(Failure::Io(format!("which request? Name its id, or choose one with {choices}")));
        }
        (Some(id), None) if args.files.files.is_empty() && id.is_file() => {
            let hint = "name a request before it, or use --slowest or --p99";
            return Err(Failure::Io(format!("{} is a file: {hint}", shown(&id))));
        }
        (Some(id), None) => Some(id.to_string_lossy().into_owned()),
        (Some(id), Some(_)) if id != Path::new("-") && matches!(id.try_exists(), Ok(false)) => {
            let either = "with an id, no option chooses the request";
            return Err(Failure::Io(format!("there is no file {}; {either}", shown(&id))));
        }
        (file, Some(_)) => {
            args.files.files.splice(0..0, file);
            None
        }
    };
    let mut inputs = Inputs::copied(&args.files)?;
    let grouping = args.groups.grouping().unwrap_or_default();
    let (chosen, names) = match choose(&mut inputs, id.as_deref(), percentile, &grouping)? {
        Found::Ended(chosen, names) => (chosen, names),
        Found::Open(sentence) => {
            complain(&printable(&sentence));
            return Ok(inputs.exit_code(1));
        }
        Found::Nothing(rows) => {
            inputs.read.unjoined().iter().for_each(|sentence| complain(sentence));
            let rows = (rows > 0).then(|| amount(rows, "row of a worker names", "rows of workers name"));
            let rows = rows.map_or_else(String::new, |rows| {
                format!(", but {rows} it: it is still open, or its line is not among those read")
            });
            complain(&match id {
                Some(id) => format!("no line of request {}{rows}", printable(&id)),
                None => "no line of a request".to_owned(),
            });
            return Ok(inputs.exit_code(1));
        }
    };
    inputs.warn_of_doubles();
    let is_text = !args.json && !args.csv;
    if let Some(sentence) = inputs.read.unjoined() {
        match is_text {
            true => writeln!(out, "{}\n", in_lines(&sentence))?,
            false => complain(&sentence),
        }
    }
    let mut others = inputs.again();
    let waiters = chosen.iter().map(|(request, log_name, _)| Waiter::of(request, log_name)).collect();
    let none = InTheWay::new(waiters, args.others as usize, inputs.is_of_several_logs());
    let in_the_way = others.fold(|| none.clone(), |others, line| others.add(line), InTheWay::merge)?;
    let answers = chosen.into_iter().zip(in_the_way.into_meanwhile());
    let answers =
        answers.map(|((request, _, question), meanwhile)| Answer::of(&request, question, meanwhile, &names));
    if args.csv {
        rows::write(answers, !grouping.is_whole(), out)?;
        return Ok(inputs.exit_code(0));
    }
    for (at, answer) in answers.enumerate() {
        if args.json {
            json::write(out, &answer)?;
        } else {
            if at > 0 {
                writeln!(out)?;
            }
            print(&answer, out)?;
        }
    }
    Ok(inputs.exit_code(0))
}

fn print(answer: &Answer, out: &mut impl Write) -> Result<()> {
    if let Some(group) = &answer.group {
        out.write_all(paint::tables(&format!("{group}\n\n")).as_bytes())?;
    }
    let (sentences, notes) = (answer.sentences(), answer.notes());
    let tail = answer.about_the_tail();
    tail.iter().try_for_each(|sentence| writeln!(out, "{}", in_lines(sentence)))?;
    if !tail.is_empty() {
        writeln!(out)?;
    }
    sentences.iter().try_for_each(|sentence| writeln!(out, "{}", in_lines(sentence)))?;
    write!(out, "\n{}", paint::tables(&format!("{}\n", answer.table())))?;
    if !notes.is_empty() {
        writeln!(out)?;
    }
    Ok(notes.iter().try_for_each(|note| writeln!(out, "{}", in_lines(note)))?)
}

/// A request with the id, the log that it stands in, and the names of its groups.
type Chosen = (Box<RequestLine>, Arc<str>, Vec<Name>);

/// What the first reading has found.
enum Found {
    /// The requests with the logs that they stand in, and what each is compared with: one, or one of each
    /// group; and the names of stages.
    Ended(Vec<(RequestLine, Arc<str>, Question)>, StageNames),
    /// A sentence on the request, which has not ended by the last report.
    Open(String),
    /// No line of a request, and how many rows name the one that was asked for.
    Nothing(u64),
}

/// The first reading.
fn choose(
    inputs: &mut Inputs,
    id: Option<&str>,
    percentile: Option<f64>,
    grouping: &Grouping,
) -> Result<Found> {
    let (signs, mut running) = (Signs::default(), Running::default());
    let signs_of_cores = signs.clone();
    let (mut last, mut occurrences, mut others, mut rows) = (None::<Chosen>, 0, VecDeque::new(), 0);
    let (wanted, by) = (id.map(str::to_owned), grouping.clone());
    let is_wanted = move |line: &Line| wanted.is_some() && line.request_id() == wanted.as_deref();
    let surveys = inputs.fold_and_map(
        || Surveys::new(grouping, percentile.is_some()),
        Surveys::add,
        Surveys::merge,
        move |line| match &line.line {
            Line::Request(request) if is_wanted(&line.line) => {
                let log_name = Arc::clone(&line.log_name);
                (Some((Box::new(request.clone()), log_name, by.names(line))), Sign::Nothing, 0)
            }
            Line::Request(_) => (None, Sign::Nothing, 0),
            row @ (Line::Stage(_) | Line::Transfer(_)) => (None, Sign::Nothing, u64::from(is_wanted(row))),
            line => (None, signs_of_cores.of(line), 0),
        },
        |place, (found, sign, of_row)| {
            running.add(&signs, place, sign);
            rows += if place.twin.is_none() { of_row } else { 0 };
            if let Some(found) = found.filter(|_| place.twin.is_none()) {
                others.extend(last.take().map(|(line, ..)| Other::of(&line)));
                if others.len() > OTHERS {
                    others.pop_front();
                }
                (last, occurrences) = (Some(found), occurrences + 1);
            }
        },
    )?;
    let Surveyed { mut groups, remarks, names } = surveys.into_groups();
    remarks.iter().for_each(|remark| complain(remark));
    let rows_of_workers = inputs.read.rows_of_workers;
    if percentile.is_none() {
        groups = match &last {
            Some((request, _, names)) => groups_of(groups, request.timestamp, names),
            None => Vec::new(),
        };
    }
    let chosen = groups.into_iter().filter_map(|mut group| {
        let slowest = match (percentile, &last) {
            (Some(percentile), _) => group.value.slowest_at(percentile)?,
            (None, Some((request, log_name, _))) => Slowest::of(request, log_name),
            (None, None) => return None,
        };
        let middle = group.value.middle()?;
        let tail = percentile.and_then(|percentile| Tail::of(&group.value, percentile, middle.e2e));
        let without_row = slowest.stage_without_row.filter(|stage| group.value.has_stage(*stage));
        let question = Question {
            group: (!grouping.is_whole()).then(|| group.heading(grouping)),
            percentile,
            occurrences,
            others: others.iter().cloned().collect(),
            median: MeanRequest::of(&middle, &group.value),
            middle,
            tail,
            requests: group.value.requests,
            weight: group.value.weight,
            rows_of_workers,
            stage_without_row: without_row,
        };
        Some((slowest, question))
    });
    let chosen = with_lines(inputs, chosen.collect())?;
    if chosen.is_empty() {
        let mut open = running.figures().open.into_iter().filter(|_| id.is_some());
        let open = open.find(|open| open.request_id.as_deref() == id);
        return Ok(open.map_or(Found::Nothing(rows), |open| Found::Open(open.sentence())));
    }
    Ok(Found::Ended(chosen, names))
}

/// The requests with their lines, for which the log is read again if they were not kept.
fn with_lines(
    inputs: &Inputs,
    chosen: Vec<(Slowest, Question)>,
) -> Result<Vec<(RequestLine, Arc<str>, Question)>> {
    let is_known = |(slowest, _): &(Slowest, Question)| slowest.line.is_some();
    let mut lines = BTreeMap::new();
    if !chosen.iter().all(is_known) {
        let wanted: BTreeSet<_> = chosen.iter().map(|(slowest, _)| slowest.identity.clone()).collect();
        inputs.again().map(
            || {
                let wanted = wanted.clone();
                move |line: &mut LogLine| match &mut line.line {
                    Line::Request(line) => {
                        let identity =
                            Some(Identity::of(line)).filter(|identity| wanted.contains(identity))?;
                        Some((identity, mem::take(line)))
                    }
                    _ => None,
                }
            },
            |_, found| {
                lines.extend(found);
                Ok(())
            },
        )?;
    }
    let found = chosen.into_iter().filter_map(|(slowest, question)| {
        let line = slowest.line.map(|line| *line).or_else(|| lines.get(&slowest.identity).cloned());
        Some((line?, slowest.log_name, question))
    });
    Ok(found.collect())
}
