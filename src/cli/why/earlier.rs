//! Earlier stages that ran while a later one was on the critical path.
//!
//! If stages stream, the later one waits for each output of the earlier one, and ends after it. So the later
//! one is on the path, though the earlier one may be slow.

use serde::Serialize;

use super::survey::Mean;
use crate::{
    Millis,
    cli::timeline::{Interval, Part, Timeline},
    model::id::{OrderedId, unordered},
};

/// The earlier stage that ran longest while a stage was on the path.
#[derive(Debug, Serialize)]
pub(super) struct Earlier {
    pub(super) stage_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stage_name: Option<String>,
    /// How long it ran meanwhile.
    pub(super) meanwhile_ms: Millis,
    /// How long it ran in all, and in the median request.
    pub(super) time_ms: Millis,
    pub(super) median_ms: Millis,
}

impl Earlier {
    /// The one of a part on the path. A stage is earlier if it began earlier.
    pub(super) fn of(
        part: Part,
        path: &[Interval],
        timeline: &Timeline,
        middle: &Mean,
        name: &dyn Fn(OrderedId) -> Option<String>,
    ) -> Option<Self> {
        let Part::Stage(stage) = part else { return None };
        let began = timeline.rows.iter().filter(|row| row.part == part).map(|row| row.from).min()?;
        let on_path = || path.iter().filter(|segment| segment.part == part);
        let earlier = timeline.rows.iter().filter_map(|row| match row.part {
            Part::Stage(other) if other != stage && row.from < began => Some((row, other)),
            _ => None,
        });
        let meanwhile = earlier.map(|(row, other)| {
            let common =
                |segment: &Interval| row.to.min(segment.to).saturating_sub(row.from.max(segment.from));
            (on_path().map(common).sum::<u64>(), row.length(), other)
        });
        let (meanwhile, length, other) = meanwhile.filter(|(meanwhile, ..)| *meanwhile > 0).max()?;
        Some(Self {
            stage_id: unordered(other),
            stage_name: name(other),
            meanwhile_ms: Millis::from_nanos(meanwhile),
            time_ms: Millis::from_nanos(length),
            median_ms: middle.of_stage(other),
        })
    }
}
