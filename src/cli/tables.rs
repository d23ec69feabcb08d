//! `tables`: requests as people read them.

use std::{collections::VecDeque, io::Write, process::ExitCode};

use super::{Files, Result, input::Inputs, paint};
use crate::Line;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    /// Only the request with this id, and the rows of workers that name it
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only the last N
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let mut last = VecDeque::new();
    let is_wanted = |line: &Line| match &args.request {
        Some(wanted) => line.request_id() == Some(wanted),
        None => true,
    };
    Inputs::new(&args.files.files).for_each(|_, line| {
        match args.last {
            _ if !is_wanted(&line) => {}
            None => {
                out.write_all(paint::tables(&line.to_string()).as_bytes())?;
                // The service may be at the other end of a pipe.
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
        out.write_all(paint::tables(&line.to_string()).as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}
