//! A line of a log: the remarks on it, and what it says of its run.

use std::{fmt, mem};

use super::work::Work;
use crate::{
    Line, Timestamp,
    cli::{
        groups::{Grouping, Name},
        invariants::{Remarks, check_line},
        log_line::LogLine,
        numbers::Ending,
        sample_check::Witness,
        selection::timestamp,
    },
};

/// What there is to say of a line, and what it says of its run.
pub(super) struct Found {
    pub(super) remarks: Remarks,
    pub(super) number: Option<RequestNumber>,
    pub(super) witness: Witness,
    pub(super) work: Work,
    pub(super) name: LineName,
    pub(super) timestamp: Timestamp,
    /// The groups of the line, if there are any.
    pub(super) names: Vec<Name>,
}

/// The name of a line in a sentence.
pub(super) enum LineName {
    Request(String, u64),
    Stage(Option<String>),
    Transfer(Option<String>),
    Open(Option<String>),
    Summary,
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = match self {
            Self::Request(id, number) => return write!(f, "request {id}, e2e_requests {number}"),
            Self::Summary => return f.write_str("summary"),
            Self::Stage(id) => ("stage of request", id),
            Self::Transfer(id) => ("transfer of request", id),
            Self::Open(id) => ("open request", id),
        };
        write!(f, "{kind} {}", id.as_deref().unwrap_or("none"))
    }
}

/// The number of requests in the run, as a line has it.
pub(super) enum RequestNumber {
    /// Up to and with the request.
    Request(u64),
    /// Up to the summary.
    Summary(Ending),
}

impl Found {
    /// Takes the id of its request from the line, since few names become text.
    pub(super) fn of(line: &mut LogLine, grouping: Option<&Grouping>) -> Self {
        let names = grouping.map(|grouping| grouping.names(line)).unwrap_or_default();
        let work = Work::of(line);
        let (remarks, witness, timestamp) = (check_line(line), Witness::of(line), timestamp(line));
        let (number, name) = match &mut line.line {
            Line::Request(line) => {
                let number = line.overall_summary.e2e_requests;
                let name = LineName::Request(mem::take(&mut line.request_id), number);
                (Some(RequestNumber::Request(number)), name)
            }
            Line::Stage(line) => (None, LineName::Stage(line.request_id.take())),
            Line::Transfer(line) => (None, LineName::Transfer(line.request_id.take())),
            Line::Open(line) => (None, LineName::Open(line.request.request_id.take())),
            Line::Summary(line) => {
                let ending = Ending {
                    requests: line.overall_summary.e2e_requests,
                    lost: line.lines_lost.unwrap_or(0),
                    is_report: line.window.is_some(),
                };
                (Some(RequestNumber::Summary(ending)), LineName::Summary)
            }
        };
        Self { remarks, number, witness, work, name, timestamp, names }
    }
}
