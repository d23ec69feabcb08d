//! A line of a log: the remarks on it, and what it says of its run.

use crate::{
    Line, Timestamp,
    cli::{
        groups::{Grouping, Name},
        invariants::{Remarks, check_line},
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
    /// The name of the line in a sentence.
    pub(super) name: String,
    pub(super) timestamp: Timestamp,
    /// The groups of the line, if there are any.
    pub(super) names: Vec<Name>,
}

/// The number of requests in the run, as a line has it.
pub(super) enum RequestNumber {
    /// Up to and with the request.
    Request(u64),
    /// Up to the summary.
    Summary(Ending),
}

impl Found {
    pub(super) fn of(line: &Line, grouping: Option<&Grouping>) -> Self {
        let names = grouping.map(|grouping| grouping.names(line)).unwrap_or_default();
        let number = match line {
            Line::Request(line) => Some(RequestNumber::Request(line.overall_summary.e2e_requests)),
            Line::Summary(line) => Some(RequestNumber::Summary(Ending {
                requests: line.overall_summary.e2e_requests,
                lost: line.lines_lost.unwrap_or(0),
                is_report: line.window.is_some(),
            })),
            Line::Stage(_) | Line::Transfer(_) | Line::Open(_) => None,
        };
        let id = line.request_id().unwrap_or("none");
        let name = match line {
            Line::Request(line) => {
                format!("request {id}, e2e_requests {}", line.overall_summary.e2e_requests)
            }
            Line::Stage(_) => format!("stage of request {id}"),
            Line::Transfer(_) => format!("transfer of request {id}"),
            Line::Summary(_) => "summary".to_owned(),
            Line::Open(_) => format!("open request {id}"),
        };
        let witness = Witness::of(line);
        Self { remarks: check_line(line), number, witness, name, timestamp: timestamp(line), names }
    }
}
