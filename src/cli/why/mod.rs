//! `why`: where the time of one request went, against the median request, and which others were in the way.

use std::{io::Write, path::PathBuf, process::ExitCode};

use super::{
    failure::{Failure, Result, complain},
    files::{Files, shown},
    help::Help,
    in_the_way::{InTheWay, Waiter},
    input::Inputs,
    json, paint,
    running::{Running, Sign, Signs},
    sentence::in_lines,
};
use crate::{Line, RequestLine, write::text::printable};

mod answer;
mod sentences;
mod survey;

use answer::{Answer, Question};
use survey::Survey;

pub(super) const HELP: Help = Help {
    examples: &[
        ("Why this request took as long as it did", "omni-metrics why req-0004 service.log"),
        ("Why a request at p99 was slow", "omni-metrics why --p99 service.log"),
        ("Requests with rows of worker processes", "omni-metrics join *.log | omni-metrics why --slowest"),
    ],
    one: Some("The log has no line of the request."),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
#[command(override_usage = "omni-metrics why [OPTIONS] ID [FILE]...\n       \
                      omni-metrics why [OPTIONS] <--slowest|--p50|--p90|--p99|--percentile P> [FILE]...")]
pub(super) struct Args {
    /// The request, if no option chooses it; of several with the same id, the last one
    #[arg(value_name = "ID")]
    id: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    choice: Choice,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    /// How many of the requests that were in the way are named for each stage; the rest is counted
    #[arg(long, value_name = "N", default_value_t = 3)]
    others: usize,
}

/// Options that choose a request by its end-to-end time. A percentile takes the slowest request within 1 % of
/// it.
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
    /// A request at this percentile, from 0 to 100
    #[arg(long, value_name = "P", value_parser = percentile)]
    percentile: Option<f64>,
}

fn percentile(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=100.0).contains(number));
    number.ok_or_else(|| "expected a number from 0 to 100".to_owned())
}

impl Choice {
    fn percentile(&self) -> Option<f64> {
        let flags = [(self.slowest, 100.0), (self.p50, 50.0), (self.p90, 90.0), (self.p99, 99.0)];
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
            let hint = "name a request before it, or choose one with --slowest, --p99 or --percentile P";
            return Err(Failure::Io(format!("{} is a file: {hint}", shown(&id))));
        }
        (Some(id), None) => Some(id.to_string_lossy().into_owned()),
        (file, Some(_)) => {
            args.files.files.splice(0..0, file);
            None
        }
    };
    let mut inputs = Inputs::copied(&args.files)?;
    let (request, question) = match choose(&mut inputs, id.as_deref(), percentile)? {
        Found::Ended(request, question) => (request, question),
        Found::Open(sentence) => {
            complain(&printable(&sentence));
            return Ok(inputs.exit_code(1));
        }
        Found::Nothing => {
            complain(&match id {
                Some(id) => format!("no line of request {}", printable(&id)),
                None => "no line of a request".to_owned(),
            });
            return Ok(inputs.exit_code(1));
        }
    };
    inputs.warn_of_doubles();
    let mut others = inputs.again();
    let none = InTheWay::new(vec![Waiter::of(&request)], args.others);
    let in_the_way = others.fold(|| none.clone(), InTheWay::add, InTheWay::merge)?;
    let meanwhile = in_the_way.into_meanwhile().into_iter().flatten().collect();
    let answer = Answer::of(&request, question, meanwhile);
    if args.json {
        json::write(out, &answer)?;
        writeln!(out)?;
    } else {
        let (sentences, notes) = (answer.sentences(), answer.notes());
        sentences.iter().try_for_each(|sentence| writeln!(out, "{}", in_lines(sentence)))?;
        write!(out, "\n{}", paint::tables(&format!("{}\n", answer.table())))?;
        if !notes.is_empty() {
            writeln!(out)?;
        }
        notes.iter().try_for_each(|note| writeln!(out, "{}", in_lines(note)))?;
    }
    Ok(inputs.exit_code(0))
}

/// What the first reading has found.
enum Found {
    /// The request, and what it is compared with.
    Ended(Box<RequestLine>, Question),
    /// A sentence on the request, which has not ended by the last report.
    Open(String),
    Nothing,
}

/// The first reading.
fn choose(inputs: &mut Inputs, id: Option<&str>, percentile: Option<f64>) -> Result<Found> {
    let (signs, mut running) = (Signs::default(), Running::default());
    let signs_of_cores = signs.clone();
    let (mut last, mut occurrences) = (None, 0);
    let wanted = id.map(str::to_owned);
    let is_wanted = move |line: &RequestLine| Some(&line.request_id) == wanted.as_ref();
    let mut survey = inputs.fold_and_map(
        || Survey::new(percentile.is_some()),
        Survey::add,
        Survey::merge,
        move |line| match line {
            Line::Request(line) if is_wanted(line) => (Some(Box::new(line.clone())), Sign::Nothing),
            Line::Request(_) => (None, Sign::Nothing),
            line => (None, signs_of_cores.of(line)),
        },
        |place, (found, sign)| {
            running.add(&signs, place, sign);
            if let Some(found) = found.filter(|_| place.twin.is_none()) {
                (last, occurrences) = (Some(*found), occurrences + 1);
            }
        },
    )?;
    let request = match percentile {
        Some(percentile) => survey.request_at(percentile),
        None => last,
    };
    let Some((request, middle)) = request.zip(survey.middle()) else {
        let mut open = running.figures().open.into_iter().filter(|_| id.is_some());
        let open = open.find(|open| open.request_id.as_deref() == id);
        return Ok(open.map_or(Found::Nothing, |open| Found::Open(open.sentence())));
    };
    let question = Question {
        percentile,
        occurrences,
        middle,
        requests: survey.requests,
        weight: survey.weight,
        rows_of_workers: survey.detached.saturating_sub(inputs.read.late),
    };
    Ok(Found::Ended(Box::new(request), question))
}
