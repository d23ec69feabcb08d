//! Lines that processes have lost, by the summary lines of a log.

use std::{collections::VecDeque, mem};

/// How many counts are remembered.
const COUNTS: usize = 1_024;

/// The counts of lost lines in a log.
#[derive(Debug, Default)]
pub(super) struct Losses(VecDeque<(u64, u64)>);

impl Losses {
    /// A summary line that comes after this line says how many lines its process had lost.
    pub(super) fn add(&mut self, line: u64, lost: u64) {
        if self.0.back().map_or(0, |(_, lost)| *lost) != lost {
            self.0.push_back((line, lost));
        }
        if self.0.len() > COUNTS {
            self.0.pop_front();
        }
    }

    /// How many lines the processes have lost.
    pub(super) fn all(&self) -> u64 {
        let counts = self.0.iter().map(|(_, lost)| *lost);
        let next = counts.clone().skip(1).map(Some).chain([None]);
        // The last count of each process is followed by a smaller one, or by none.
        counts
            .zip(next)
            .filter(|(lost, next)| next.is_none_or(|next| next < *lost))
            .map(|(lost, _)| lost)
            .sum()
    }

    /// How many lines the process had lost by its last summary line after this line.
    pub(super) fn since(&self, line: u64) -> u64 {
        let later = self.0.iter().filter(|(at, _)| *at >= line).map(|(_, lost)| *lost);
        let mut last = 0;
        // A count that falls is that of another process.
        later.take_while(|lost| *lost >= mem::replace(&mut last, *lost)).last().unwrap_or(0)
    }
}
