//! `tables`: requests as people read them.

use std::{collections::VecDeque, io::Write, process::ExitCode};

use super::{
    failure::{Result, complain},
    files::Files,
    help::Help,
    input::Inputs,
    json, paint,
};
use crate::{Line, write::text::printable};

pub(super) const HELP: Help = Help {
    examples: &[
        ("One request, and the rows of workers that name it", "omni-metrics tables --request req-0003 *.log"),
        ("The last three requests", "omni-metrics tables --last 3 service.log"),
        (
            "The lines of requests that took more than a second, for another tool",
            "omni-metrics tables --json --where 'e2e_total_ms > 1000' service.log >slow.jsonl",
        ),
    ],
    one: Some("No line names the request of `--request`."),
    ..Help::NONE
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// Only the request with this id, and the rows of workers that name it
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only the last N requests, and rows of workers
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// The lines themselves, as JSON, rather than tables
    #[arg(long)]
    json: bool,
}

impl Args {
    fn print(&self, line: &Line, out: &mut impl Write) -> Result<()> {
        if self.json {
            json::write(out, line)?;
            return Ok(writeln!(out)?);
        }
        Ok(out.write_all(paint::tables(&line.to_string()).as_bytes())?)
    }
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let (mut last, mut is_found) = (VecDeque::new(), false);
    let is_wanted = |line: &Line| match &args.request {
        Some(wanted) => line.request_id() == Some(wanted),
        None => true,
    };
    let mut inputs = Inputs::new(&args.files)?;
    inputs.for_each(|_, line| {
        let is_wanted = is_wanted(&line);
        is_found |= is_wanted;
        match args.last {
            _ if !is_wanted => {}
            // These are no requests that have ended.
            Some(_) if matches!(line, Line::Summary(_) | Line::Open(_)) => {}
            None => {
                args.print(&line, out)?;
                // If standard input is the pipe of a running service, its lines are shown at once.
                out.flush()?;
            }
            Some(limit) => {
                last.push_back(line);
                if last.len() > limit {
                    last.pop_front();
                }
            }
        }
        Ok(())
    })?;
    for line in last {
        args.print(&line, out)?;
    }
    match &args.request {
        Some(wanted) if !is_found => {
            complain(&format!("no line of request {}", printable(wanted)));
            Ok(inputs.exit_code(1))
        }
        _ => Ok(inputs.exit_code(0)),
    }
}
