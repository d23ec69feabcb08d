//! A simulated player of a stage's media.

use std::{iter, mem};

/// How many underruns have a known length.
const LENGTHS: usize = 64;

/// It starts with the first chunk, and plays each chunk when it has come. While it has nothing to play and
/// further chunks follow, it underruns.
#[derive(Debug, Clone, Default)]
pub(crate) struct Player {
    start: Option<u64>,
    /// When all chunks so far will have been played.
    until: u64,
    pub(crate) underruns: u64,
    /// How long it had nothing to play, in nanoseconds.
    pub(crate) underrun_total: u64,
    /// How long each of the first underruns was. Media of an earlier player may cover them.
    lengths: Vec<u64>,
}

impl Player {
    /// A player that began at `start`, has played `media` nanoseconds, and had nothing to play in between for
    /// `underrun_total` nanoseconds.
    #[cfg(feature = "cli")]
    pub(crate) fn of(start: u64, media: u64, underruns: u64, underrun_total: u64) -> Self {
        let until = start.saturating_add(media).saturating_add(underrun_total);
        Self { start: Some(start), until, underruns, underrun_total, lengths: Vec::new() }
    }

    pub(crate) fn has_played(&self) -> bool {
        self.start.is_some()
    }

    /// A chunk comes that plays for `media` nanoseconds.
    pub(crate) fn play(&mut self, moment: u64, media: u64) {
        self.start.get_or_insert(moment);
        self.wait_until(moment);
        self.until = self.until.saturating_add(media);
    }

    /// A chunk comes that plays for `media` nanoseconds, before all others so far.
    pub(crate) fn play_before(&mut self, moment: u64, media: u64) {
        let mut first = Self::default();
        first.play(moment, media);
        first.append(self);
        *self = first;
    }

    /// Continues with the chunks that another player has got, which came after those of this one.
    ///
    /// Media that is left when they begin to come covers the other player's first underruns. The total is
    /// exact. The number of underruns is an upper bound if the media ends behind those whose lengths are
    /// known.
    pub(crate) fn append(&mut self, other: &Self) {
        let Some(start) = other.start else { return };
        if self.start.is_none() {
            self.clone_from(other);
            return;
        }
        self.wait_until(start);
        let media = other.until.saturating_sub(start).saturating_sub(other.underrun_total);
        let covered = (self.until - start).min(other.underrun_total);
        if covered < other.underrun_total {
            let mut left = covered;
            let is_covered = |length: &&u64| {
                let is_covered = **length <= left;
                left -= if is_covered { **length } else { 0 };
                is_covered
            };
            let first = other.lengths.iter().take_while(is_covered).count();
            let remaining = other.lengths.iter().skip(first).map(|length| length - mem::take(&mut left));
            self.note_underruns(other.underruns - first as u64, remaining);
        }
        self.underrun_total = self.underrun_total.saturating_add(other.underrun_total - covered);
        self.until = self.until.saturating_add(media).max(other.until);
    }

    /// Notes an underrun if the player has nothing to play before this moment.
    fn wait_until(&mut self, moment: u64) {
        if self.start.is_some_and(|start| start < moment) && self.until < moment {
            self.underrun_total = self.underrun_total.saturating_add(moment - self.until);
            self.note_underruns(1, iter::once(moment - self.until));
        }
        self.until = self.until.max(moment);
    }

    fn note_underruns(&mut self, underruns: u64, lengths: impl Iterator<Item = u64>) {
        // The lengths are those of the first underruns, so no length may follow one that is not known.
        if self.lengths.len() as u64 == self.underruns {
            let room = LENGTHS - self.lengths.len();
            self.lengths.extend(lengths.take(room));
        }
        self.underruns += underruns;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn player(chunks: &[(u64, u64)]) -> Player {
        let mut player = Player::default();
        chunks.iter().for_each(|(moment, media)| player.play(*moment, *media));
        player
    }

    #[test]
    fn an_underrun_lasts_from_the_end_of_the_media_to_the_next_chunk() {
        let Player { underruns, underrun_total, until, .. } =
            player(&[(10, 5), (15, 5), (22, 5), (23, 5), (40, 1)]);
        assert_eq!((underruns, underrun_total, until), (2, 2 + 8, 41));
    }

    #[test]
    fn a_chunk_without_media_starts_the_player() {
        let Player { underruns, underrun_total, .. } = player(&[(10, 0), (15, 5)]);
        assert_eq!((underruns, underrun_total), (1, 5));
    }

    proptest! {
        #[test]
        fn two_players_in_a_row_wait_as_often_and_as_long_as_one(
            steps in prop::collection::vec((0..20_u64, 0..20_u64), 1..40), at in any::<prop::sample::Index>(),
        ) {
            let mut moment = 0;
            let chunk = |(step, media): &(u64, u64)| {
                moment += step;
                (moment, *media)
            };
            let chunks: Vec<_> = steps.iter().map(chunk).collect();
            let (left, right) = chunks.split_at(at.index(chunks.len()));
            let (whole, mut both) = (player(&chunks), player(left));
            both.append(&player(right));
            prop_assert_eq!((whole.until, whole.underrun_total), (both.until, both.underrun_total));
            prop_assert_eq!(whole.underruns, both.underruns);
        }
    }
}
