//! The outputs of a stage whose rows come from several processes.

use std::collections::BTreeMap;

use crate::{Millis, StageRow, fold::player::Player, model::id::OrderedId};

/// The outputs of one row: from the first to the last one, in nanoseconds since the request's creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stretch {
    first: u64,
    last: u64,
    played: Option<Played>,
}

/// What a player made of the media of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Played {
    media: u64,
    underruns: u64,
    underrun_total: u64,
}

/// The outputs of the rows that go into each stage's row.
#[derive(Debug, Default)]
pub(super) struct JoinedOutputs(BTreeMap<OrderedId, Joined>);

/// The rows that go into one row.
#[derive(Debug, Default)]
struct Joined {
    outputs: Vec<Stretch>,
    has_rows_of_workers: bool,
}

impl JoinedOutputs {
    /// Adds a row of the request's own.
    pub(super) fn add_own(&mut self, row: &StageRow) {
        self.0.entry(row.order()).or_default().outputs.extend(Stretch::of(row));
    }

    /// Adds a row of a worker, whose moments count from the request's creation.
    pub(super) fn add(&mut self, row: &StageRow) {
        let joined = self.0.entry(row.order()).or_default();
        joined.outputs.extend(Stretch::of(row));
        joined.has_rows_of_workers = true;
    }

    /// Computes the numbers of the outputs anew in a row into which the added ones have been merged.
    pub(super) fn complete(&mut self, row: &mut StageRow) {
        let Some(mut joined) = self.0.remove(&row.order()).filter(|joined| joined.has_rows_of_workers) else {
            return;
        };
        row.real_time_factor = row.factor();
        joined.outputs.sort_unstable();
        let stretches = &joined.outputs;
        let (Some(outputs), Some(last)) = (row.outputs, row.last_output_ms) else { return };
        let Some(first) = stretches.first().map(|stretch| stretch.first) else { return };
        let extent = last.as_nanos().saturating_sub(first);
        row.inter_output_mean_ms = extent.checked_div(outputs.saturating_sub(1)).map(Millis::from_nanos);
        row.inter_output_max_ms = row.inter_output_max_ms.max(longest_pause(stretches));
        row.divide_output_time();
        if let Some(player) = play(stretches) {
            row.underruns = Some(player.underruns);
            row.underrun_total_ms = Some(Millis::from_nanos(player.underrun_total));
        }
    }
}

impl Stretch {
    fn of(row: &StageRow) -> Option<Self> {
        let steps = row.outputs?.saturating_sub(1);
        let last = row.last_output_ms?.as_nanos();
        let mean = row.inter_output_mean_ms.unwrap_or_default().as_nanos();
        // The mean is cut to whole nanoseconds. `first_output` may have been recorded before the first
        // output.
        let latest = last.saturating_sub(mean.saturating_mul(steps));
        let first = row.first_output_ms.map(Millis::as_nanos);
        let first = first.filter(|first| latest.abs_diff(*first) <= steps).unwrap_or(latest);
        let played = row.underruns.map(|underruns| Played {
            media: row.media_ms.unwrap_or_default().as_nanos(),
            underruns,
            underrun_total: row.underrun_total_ms.unwrap_or_default().as_nanos(),
        });
        Some(Self { first, last, played })
    }
}

/// The longest time between the last output of some rows and the first one of the next; `None` if they all
/// overlap.
fn longest_pause(stretches: &[Stretch]) -> Option<Millis> {
    let mut until = None;
    let pauses = stretches.iter().filter_map(|stretch| {
        let pause = until.and_then(|until| stretch.first.checked_sub(until));
        until = until.max(Some(stretch.last));
        pause
    });
    pauses.max().map(Millis::from_nanos)
}

/// One player for the media of all rows.
fn play(stretches: &[Stretch]) -> Option<Player> {
    let mut player = Player::default();
    for Stretch { first, played, .. } in stretches {
        if let Some(Played { media, underruns, underrun_total }) = *played {
            player.append(&Player::of(*first, media, underruns, underrun_total));
        }
    }
    Some(player).filter(Player::has_played)
}
