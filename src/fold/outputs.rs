//! The outputs of a stage: chunks that leave it, each at its moment, in constant memory.

use std::mem;

use crate::{
    Millis,
    fold::{gaps::Gaps, player::Player},
    model::{kind::Kind, moment::earliest, sums, warnings::Warnings},
};

/// How many chunks can still be put in order. Spans of one row may have outputs at once, and may close in any
/// order; chunks before these are folded.
const WINDOW: usize = 64;

/// One output.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    moment: u64,
    /// How long its media plays, in nanoseconds.
    media: Option<u64>,
}

/// The outputs of a span, or of a row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outputs {
    pub(crate) count: u64,
    /// The sum of their values.
    pub(crate) units: Option<u64>,
    /// The sum of their media.
    pub(crate) media: Option<Millis>,
    /// The moment of the first and of the last chunk that is folded.
    first: Option<u64>,
    last: Option<u64>,
    gaps: Gaps,
    player: Player,
    /// The chunks that are not folded yet, by moment.
    recent: Vec<Chunk>,
    /// Media that was recorded before its chunk.
    early_media: Option<u64>,
}

impl Outputs {
    /// Adds an output of some units.
    pub(crate) fn add(&mut self, moment: u64, units: u64, warnings: &mut Warnings) {
        self.count += 1;
        sums::add_to(&mut self.units, Some(units), Kind::Stage, "output", warnings);
        let media = self.early_media.take();
        self.insert(Chunk { moment, media });
    }

    /// Adds media of the last output, or, if that has some, of the next one.
    pub(crate) fn add_media(&mut self, nanos: u64, warnings: &mut Warnings) {
        sums::add_to(
            &mut self.media,
            Some(Millis::from_nanos(nanos)),
            Kind::Stage,
            "output_media_ms",
            warnings,
        );
        match self.recent.last_mut() {
            Some(chunk) if chunk.media.is_none() => chunk.media = Some(nanos),
            _ => self.early_media = Some(self.early_media.unwrap_or(0).saturating_add(nanos)),
        }
    }

    /// Adds the outputs of another span of the row.
    pub(crate) fn merge(&mut self, mut other: Self, warnings: &mut Warnings) {
        other.settle_media();
        self.settle_media();
        self.count += other.count;
        sums::add_to(&mut self.units, other.units, Kind::Stage, "output", warnings);
        sums::add_to(&mut self.media, other.media, Kind::Stage, "output_media_ms", warnings);
        if other.first.is_some() {
            if self.begins_after(&other) {
                self.swap_chunks(&mut other);
            }
            if other.begins_after(self) {
                self.fold(self.recent.len());
            }
            let gap = self.last.zip(other.first).and_then(|(last, first)| first.checked_sub(last));
            gap.into_iter().for_each(|gap| self.gaps.add(gap));
            self.gaps.merge(&other.gaps);
            self.player.append(&other.player);
            self.first = earliest(self.first, other.first);
            self.last = self.last.max(other.last);
        }
        match *other.recent {
            [chunk] => self.insert(chunk),
            _ => {
                self.recent.append(&mut other.recent);
                self.recent.sort_by_key(|chunk| chunk.moment);
                self.make_room();
            }
        }
    }

    /// Folds all chunks.
    pub(crate) fn finish(&mut self) {
        self.settle_media();
        self.fold(self.recent.len());
    }

    /// The first and the last moment of [finished](Self::finish) outputs.
    pub(crate) fn extent(&self) -> Option<(u64, u64)> {
        self.first.zip(self.last)
    }

    /// The gaps of finished outputs, if there are any.
    pub(crate) fn gaps(&self) -> Option<&Gaps> {
        (self.count > 1).then_some(&self.gaps)
    }

    /// The player of finished outputs, if there was something to play.
    pub(crate) fn player(&self) -> Option<&Player> {
        Some(&self.player).filter(|player| player.has_played())
    }

    /// Gives media that was recorded after that of the last chunk to this chunk. Without a chunk in the same
    /// span, nothing is played.
    fn settle_media(&mut self) {
        if let Some(media) = self.early_media.take()
            && let Some(chunk) = self.recent.last_mut()
        {
            chunk.media = Some(chunk.media.unwrap_or(0).saturating_add(media));
        }
    }

    fn begins_after(&self, other: &Self) -> bool {
        let first = self.first.or_else(|| self.recent.first().map(|chunk| chunk.moment));
        let end = other.recent.last().map(|chunk| chunk.moment).max(other.last);
        first >= end
    }

    fn swap_chunks(&mut self, other: &mut Self) {
        mem::swap(&mut self.first, &mut other.first);
        mem::swap(&mut self.last, &mut other.last);
        mem::swap(&mut self.gaps, &mut other.gaps);
        mem::swap(&mut self.player, &mut other.player);
        mem::swap(&mut self.recent, &mut other.recent);
    }

    fn insert(&mut self, chunk: Chunk) {
        let at = match self.recent.last() {
            Some(last) if last.moment > chunk.moment => {
                self.recent.partition_point(|earlier| earlier.moment <= chunk.moment)
            }
            _ => self.recent.len(),
        };
        self.recent.insert(at, chunk);
        self.make_room();
    }

    fn make_room(&mut self) {
        if self.recent.len() >= 2 * WINDOW {
            self.fold(self.recent.len() - WINDOW);
        }
    }

    /// Folds at least this many chunks, the first ones. Those of a span that closes late may have come before
    /// all that are folded.
    fn fold(&mut self, chunks: usize) {
        let first = self.first.unwrap_or(0);
        let early = self.recent.partition_point(|chunk| chunk.moment < first);
        for Chunk { moment, media } in self.recent.drain(..early).rev() {
            let next = self.first.replace(moment);
            next.into_iter().for_each(|next| self.gaps.add(next - moment));
            if let Some(media) = media {
                self.player.play_before(moment, media);
            }
        }
        for Chunk { moment, media } in self.recent.drain(..chunks.saturating_sub(early)) {
            if let Some(last) = self.last {
                self.gaps.add(moment.saturating_sub(last));
            }
            self.first.get_or_insert(moment);
            self.last = self.last.max(Some(moment));
            if let Some(media) = media {
                self.player.play(moment, media);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The outputs of a span, each a step after the one before.
    fn span(begin: u64, steps: &[u64]) -> Outputs {
        let mut outputs = Outputs::default();
        let mut moment = begin;
        for step in steps {
            moment += step;
            outputs.add(moment, 1, &mut Warnings::default());
        }
        outputs
    }

    proptest! {
        #[test]
        fn spans_that_close_in_any_order_lose_neither_their_first_nor_their_last_output(
            spans in prop::collection::vec((0..2_000_u64, prop::collection::vec(1..20_u64, 1..300)), 1..6),
        ) {
            let mut row = Outputs::default();
            let (mut first, mut last) = (u64::MAX, 0);
            for (begin, steps) in &spans {
                first = first.min(begin + steps[0]);
                last = last.max(begin + steps.iter().sum::<u64>());
                row.merge(span(*begin, steps), &mut Warnings::default());
            }
            row.finish();
            prop_assert_eq!(row.extent(), Some((first, last)));
            if let Some(gaps) = row.gaps() {
                prop_assert!((last - first) / (row.count - 1) <= gaps.max);
                prop_assert!(gaps.max <= last - first);
            }
        }
    }
}
