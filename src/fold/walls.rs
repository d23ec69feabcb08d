//! The wall time of a stage over the run.

use crate::model::{kind::Kind, warnings::Warnings};

/// Stage ids from here on are left out of the list of walls, so that a large id does not allocate a large
/// list.
pub(crate) const WALL_LIMIT: u64 = 1024;

#[derive(Debug, Clone, Copy)]
pub(crate) struct StageWall {
    pub(crate) stage_id: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Warns that the stage has no place in the list of walls.
pub(crate) fn warn_of_wall(warnings: &mut Warnings, stage_id: u64) {
    let what = format!("ids of {WALL_LIMIT} and more stay out of `stage_wall_time_ms`");
    warnings.add(Kind::Stage, "stage_id", stage_id, what);
}
