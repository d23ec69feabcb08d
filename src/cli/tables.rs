//! `tables`: requests as people read them.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write,
    num::NonZeroU32,
    process::ExitCode,
};

use serde::Serialize;

use super::{
    amount::amount,
    argument::at_least_one,
    failure::{Result, complain},
    files::Files,
    groups::{GroupArgs, Grouping, Groups, Heading, Merge},
    help::Help,
    input::Inputs,
    json, paint,
    selection::timestamp,
};
use crate::{Line, write::columns::printable};

pub(super) const HELP: Help = Help {
    examples: &[
        ("One request, and the rows of workers that name it", "omni-metrics tables --request req-0003 *.log"),
        ("The last three requests", "omni-metrics tables --last 3 service.log"),
        ("The last request of each kind of end", "omni-metrics tables --by finish_reason service.log"),
        (
            "The lines of requests that took more than a second, for another tool",
            "omni-metrics tables --json --where 'e2e_total_ms > 1000' service.log >slow.jsonl",
        ),
    ],
    note: Some(
        "With --by or --every, each group has a heading and its last request, or its last N with --last N; \
         with --json, the heading is a line of type `group`.",
    ),
    one: Some("No line names the request of `--request`."),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only the request with this id, and the rows of workers that name it
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only the last N requests, and rows of workers
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    last: Option<NonZeroU32>,
    /// The lines themselves, as JSON, rather than tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    groups: GroupArgs,
}

impl Args {
    fn is_wanted(&self, line: &Line) -> bool {
        self.request.as_ref().is_none_or(|wanted| line.request_id() == Some(wanted))
    }

    fn print(&self, line: &Line, out: &mut impl Write) -> Result<()> {
        if self.json {
            return json::write(out, line);
        }
        Ok(out.write_all(paint::tables(&line.to_string()).as_bytes())?)
    }
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let mut inputs = Inputs::new(&args.files)?;
    let is_found = match args.groups.grouping() {
        Some(grouping) => print_groups(args, &grouping, &mut inputs, out)?,
        None => print_all(args, &mut inputs, out)?,
    };
    match &args.request {
        Some(wanted) if !is_found => {
            complain(&format!("no line of request {}", printable(wanted)));
            Ok(inputs.exit_code(1))
        }
        _ => Ok(inputs.exit_code(0)),
    }
}

/// Prints the lines that are wanted. Whether there are any.
fn print_all(args: &Args, inputs: &mut Inputs, out: &mut impl Write) -> Result<bool> {
    let (mut last, mut is_found) = (VecDeque::new(), false);
    inputs.for_each(|_, line| {
        let is_wanted = args.is_wanted(&line);
        is_found |= is_wanted;
        match args.last {
            _ if !is_wanted => {}
            Some(_) if !is_of_a_request(&line) => {}
            None => {
                args.print(&line, out)?;
                // If standard input is the pipe of a running service, its lines are shown at once.
                out.flush()?;
            }
            Some(limit) => {
                last.push_back(line);
                if last.len() > limit.get() as usize {
                    last.pop_front();
                }
            }
        }
        Ok(())
    })?;
    last.iter().try_for_each(|line| args.print(line, out))?;
    Ok(is_found)
}

/// Prints the last of the lines that are wanted of each group. Whether there are any.
fn print_groups(args: &Args, grouping: &Grouping, inputs: &mut Inputs, out: &mut impl Write) -> Result<bool> {
    let (mut groups, mut number) = (Groups::<Last>::new(grouping), 0);
    let limit = args.last.map_or(1, NonZeroU32::get) as usize;
    inputs.for_each(|_, line| {
        if args.is_wanted(&line) && is_of_a_request(&line) {
            number += 1;
            for name in grouping.names(&line) {
                groups.at(timestamp(&line), Some(name)).add(number, &line, limit);
            }
        }
        Ok(())
    })?;
    let width = groups.width();
    let groups = groups.into_groups(grouping);
    grouping.remarks(width).iter().for_each(|remark| complain(remark));
    for group in &groups {
        let shown = &group.value;
        let heading = GroupHeading {
            heading: group.heading(grouping),
            lines: shown.lines,
            shown: shown.last.len() as u64,
        };
        if args.json {
            json::write(out, &heading)?;
        } else {
            out.write_all(paint::tables(&heading.sentence()).as_bytes())?;
        }
        shown.last.values().try_for_each(|line| args.print(line, out))?;
    }
    Ok(!groups.is_empty())
}

/// Whether a line is of a request that has ended, or of a row of one.
fn is_of_a_request(line: &Line) -> bool {
    matches!(line, Line::Request(_) | Line::Stage(_) | Line::Transfer(_))
}

/// The last lines of a group, by their number.
#[derive(Debug, Default)]
struct Last {
    lines: u64,
    last: BTreeMap<u64, Line>,
    limit: usize,
}

impl Last {
    fn add(&mut self, number: u64, line: &Line, limit: usize) {
        self.limit = limit;
        self.lines += 1;
        self.last.insert(number, line.clone());
        self.shorten();
    }

    fn shorten(&mut self) {
        while self.last.len() > self.limit {
            self.last.pop_first();
        }
    }
}

impl Merge for Last {
    fn merge(&mut self, other: Self) {
        self.limit = self.limit.max(other.limit);
        self.lines += other.lines;
        self.last.extend(other.last);
        self.shorten();
    }
}

/// What stands above the lines of a group.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "group")]
struct GroupHeading {
    #[serde(flatten)]
    heading: Heading,
    /// How many lines the group has, and how many of them follow.
    lines: u64,
    shown: u64,
}

impl GroupHeading {
    fn sentence(&self) -> String {
        let Self { heading, lines, shown } = self;
        let all = amount(*lines, "line", "lines");
        match shown {
            shown if shown == lines => format!("{heading}: {all}\n\n"),
            1 => format!("{heading}: the last of {all}\n\n"),
            shown => format!("{heading}: the last {shown} of {all}\n\n"),
        }
    }
}
