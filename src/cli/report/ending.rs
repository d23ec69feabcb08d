//! How requests ended, as the page tells them apart.

use crate::{E2eTable, RequestLine, model::keep::is_failed};

/// How a request ended. Aborted requests are failed ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Completed,
    Aborted,
    /// It failed otherwise.
    Unaborted,
}

impl Ending {
    pub(super) const ALL: [Self; 3] = [Self::Completed, Self::Aborted, Self::Unaborted];

    pub(super) fn of(e2e: &E2eTable) -> Self {
        match (e2e.finish_reason.as_deref(), is_failed(e2e)) {
            (Some("abort"), _) => Self::Aborted,
            (_, true) => Self::Unaborted,
            (_, false) => Self::Completed,
        }
    }

    /// What the page calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::Unaborted => "failed, not aborted",
        }
    }

    /// The class of its colour, by which the script knows it too.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::Unaborted => "unaborted",
        }
    }
}

/// Requests by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Endings {
    completed: u64,
    aborted: u64,
    unaborted: u64,
}

impl Endings {
    pub(super) fn add(&mut self, line: &RequestLine) {
        let count = match Ending::of(&line.e2e_table) {
            Ending::Completed => &mut self.completed,
            Ending::Aborted => &mut self.aborted,
            Ending::Unaborted => &mut self.unaborted,
        };
        *count += line.weight();
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.aborted += other.aborted;
        self.unaborted += other.unaborted;
    }

    pub(super) fn of(&self, ending: Ending) -> u64 {
        match ending {
            Ending::Completed => self.completed,
            Ending::Aborted => self.aborted,
            Ending::Unaborted => self.unaborted,
        }
    }

    /// As `summary` counts them: also those that were aborted.
    pub(super) fn failed(&self) -> u64 {
        self.aborted + self.unaborted
    }

    pub(super) fn all(&self) -> u64 {
        self.completed + self.failed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aborted_requests_are_failed_ones_and_told_from_the_others() {
        let ended = |reason: Option<&str>, errors| {
            let finish_reason = reason.map(str::to_owned);
            let e2e_table = E2eTable { finish_reason, errors, ..E2eTable::default() };
            RequestLine { e2e_table, sample_rate: Some(3), ..RequestLine::default() }
        };
        let mut endings = Endings::default();
        let reasons = [(Some("stop"), Some(1)), (None, None), (None, Some(2)), (Some("error"), None)];
        reasons.into_iter().for_each(|(reason, errors)| endings.add(&ended(reason, errors)));
        endings.add(&ended(Some("abort"), Some(1)));
        assert_eq!(Ending::ALL.map(|ending| endings.of(ending)), [3, 3, 9]);
        assert_eq!((endings.failed(), endings.all()), (12, 15));
    }
}
