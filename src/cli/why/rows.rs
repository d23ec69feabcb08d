//! Answers as comma-separated values, a row for each part of the time.

use std::io::Write;

use super::answer::{Answer, Compared};
use crate::cli::{
    failure::Result,
    groups::Heading,
    records::{Records, cell},
};

const HEADS: [&str; 8] =
    ["request_id", "part", "stage_name", "time_ms", "median_ms", "difference_ms", "tail_ms", "others_ms"];

/// Writes the parts of each answer, with the columns of groups if there are groups.
pub(super) fn write(
    answers: impl Iterator<Item = Answer>,
    has_groups: bool,
    out: &mut impl Write,
) -> Result<()> {
    let mut records = Records::new(out);
    let of_groups = Heading::HEADS.into_iter().filter(|_| has_groups);
    records.write(of_groups.chain(HEADS).map(str::to_owned))?;
    for Answer { group, request_id, parts, .. } in answers {
        let group = group.as_ref().map(Heading::cells);
        for Compared { part, stage_name, time_ms, median_ms, difference_ms, tail_ms, others_ms, .. } in parts
        {
            let cells = [
                request_id.clone(),
                part.to_string(),
                cell(stage_name),
                time_ms.to_string(),
                median_ms.to_string(),
                difference_ms.to_string(),
                cell(tail_ms),
                cell(others_ms),
            ];
            records.write(group.iter().flatten().cloned().chain(cells))?;
        }
    }
    records.flush()
}
