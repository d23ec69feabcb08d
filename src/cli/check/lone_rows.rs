//! Rows of workers whose request has no line.

use std::mem;

use super::{
    finding::Finding,
    found::LineName,
    ids::Ids,
    names::{Names, RowPlace},
    surplus::Surplus,
    work::Work,
};
use crate::{
    Timestamp,
    cli::{amount::amount, by_hash::ByHash, place::Place, rates::Rates, sample_check::Witness},
};

/// How many ids of requests are remembered. Of more, those with the smallest hashes are.
const IDS: usize = 1 << 19;

/// Rows that name a request of which there was no line so far.
struct Waiting {
    rows: u32,
    /// The first of them.
    first: RowPlace,
    /// The earliest and the latest time of them.
    times: [Timestamp; 2],
}

/// A note about requests without a line, or with an attempt without one.
pub(super) struct LoneNote<'a> {
    pub(super) place: Place<'a>,
    pub(super) text: String,
    pub(super) requests: u64,
    /// Those whose ids are known, in the order of their first rows.
    pub(super) named: Vec<Finding<'a>>,
}

/// The ids of all logs. Rows may come before or after the line of their request.
pub(super) struct LoneRows {
    requests: ByHash<()>,
    /// Requests that are not in `requests` yet: most logs have no rows to look for there.
    unsorted: Vec<u64>,
    waiting: ByHash<Waiting>,
    ids: Ids,
    surplus: Surplus,
    names: Names,
    rates: Rates,
    /// The files with rows: which of all files each is, and its name.
    files: Vec<(usize, String)>,
    limit: usize,
}

impl Default for LoneRows {
    fn default() -> Self {
        Self::new(IDS)
    }
}

impl LoneRows {
    fn new(limit: usize) -> Self {
        Self {
            requests: ByHash::default(),
            unsorted: Vec::new(),
            waiting: ByHash::default(),
            ids: Ids::ALL,
            surplus: Surplus::default(),
            names: Names::default(),
            rates: Rates::default(),
            files: Vec::new(),
            limit,
        }
    }

    pub(super) fn add(
        &mut self,
        place: Place<'_>,
        name: &LineName,
        witness: &Witness,
        work: &Work,
        timestamp: Timestamp,
    ) {
        match witness {
            Witness::Request(request) => {
                self.rates.note(request.sample_rate);
                self.add_request(request.id);
                self.surplus.add(request.id, None, &work.messages);
            }
            Witness::Row { named: Some(id), .. } => {
                let file = self.add_row(place, *id, timestamp);
                self.surplus.add(*id, Some((file, place.number)), &work.messages);
                let is_needed = |id| self.waiting.contains_key(&id) || self.surplus.has(id);
                if let LineName::Stage(Some(name)) | LineName::Transfer(Some(name)) = name
                    && is_needed(*id)
                {
                    self.names.add(*id, name, is_needed);
                }
            }
            Witness::Row { named: None, .. } | Witness::Summary(_) | Witness::Open => {}
        }
    }

    fn add_request(&mut self, id: u64) {
        if !self.ids.have(id) {
            return;
        }
        if self.requests.is_empty() && self.waiting.is_empty() {
            self.unsorted.push(id);
        } else {
            self.requests.insert(id, ());
            self.waiting.remove(&id);
        }
        self.limit_ids();
    }

    /// Returns which of the files with rows it is in.
    fn add_row(&mut self, place: Place<'_>, id: u64, timestamp: Timestamp) -> u32 {
        if self.files.last().is_none_or(|(last, _)| *last != place.index) {
            self.files.push((place.index, place.file.to_owned()));
        }
        self.sort();
        let file = u32::try_from(self.files.len() - 1).unwrap_or(u32::MAX);
        if self.ids.have(id) && !self.requests.contains_key(&id) {
            let first = Waiting { rows: 0, first: (file, place.number), times: [timestamp; 2] };
            let waiting = self.waiting.entry(id).or_insert(first);
            waiting.rows = waiting.rows.saturating_add(1);
            waiting.times = joined(waiting.times, [timestamp; 2]);
            self.limit_ids();
        }
        file
    }

    fn sort(&mut self) {
        self.requests.extend(mem::take(&mut self.unsorted).into_iter().map(|id| (id, ())));
    }

    fn is_full(&self) -> bool {
        self.unsorted.len() + self.requests.len() + self.waiting.len() > self.limit
    }

    /// Forgets the ids with the greater hashes, if there are too many. Each may be unsorted several times.
    fn limit_ids(&mut self) {
        if self.is_full() {
            self.sort();
        }
        if self.is_full() {
            self.ids.halve();
            self.requests.retain(|id, ()| self.ids.have(*id));
            self.waiting.retain(|id, _| self.ids.have(*id));
        }
    }

    /// A note about the requests that have no line, and one about those of which another attempt has none,
    /// each at the first row of them. Rows alone say nothing: the log of a worker has no requests.
    pub(super) fn finish(&self) -> impl Iterator<Item = LoneNote<'_>> {
        let has_line = |id| self.requests.contains_key(&id) && !self.rates.leave_out(id);
        let requests = self.without_line().and_then(|found| {
            self.note(found, |file, line, request_id| Finding::RequestWithoutLine { file, line, request_id })
        });
        let attempts = self.surplus.finish(self.ids, &self.names, has_line).and_then(|found| {
            self.note(found, |file, line, request_id| Finding::AttemptWithoutLine { file, line, request_id })
        });
        requests.into_iter().chain(attempts)
    }

    fn note<'a>(
        &'a self,
        (requests, text): (Vec<(RowPlace, u64)>, String),
        named: impl Fn(&'a str, u64, &'a str) -> Finding<'a>,
    ) -> Option<LoneNote<'a>> {
        let place = |(file, number): RowPlace| {
            let (index, file) = self.files.get(file as usize)?;
            Some(Place { file, number, index: *index, log: 0, twin: None })
        };
        let named = requests.iter().filter_map(|(first, id)| {
            let place = place(*first)?;
            Some(named(place.file, place.number, self.names.get(*id)?))
        });
        let (first, _) = requests.first()?;
        Some(LoneNote {
            place: place(*first)?,
            text,
            requests: requests.len() as u64,
            named: named.collect(),
        })
    }

    /// The requests without a line, by their first row, and a sentence about them.
    fn without_line(&self) -> Option<(Vec<(RowPlace, u64)>, String)> {
        if self.requests.is_empty() {
            return None;
        }
        let lone = self.waiting.iter().filter(|(id, _)| !self.rates.leave_out(**id));
        let (mut rows, mut requests, mut times) = (0, Vec::new(), None);
        for (id, Waiting { rows: of_request, first, times: of_rows }) in lone {
            rows += u64::from(*of_request);
            requests.push((*first, *id));
            times = Some(times.map_or(*of_rows, |times| joined(times, *of_rows)));
        }
        let [begin, end] = times?;
        requests.sort_unstable();
        let sentence = format!(
            "{} {} without a line{}, from {begin} to {end}, and this row is the first: the request is still \
             open, or its line is in another log or missing{}",
            amount(rows, "row names", "rows name"),
            amount(requests.len() as u64, "request", "requests"),
            self.names.some_of(&requests),
            self.ids.share()
        );
        Some((requests, sentence))
    }
}

/// The earlier of the first two times, and the later of the last two.
fn joined([begin, end]: [Timestamp; 2], [other_begin, other_end]: [Timestamp; 2]) -> [Timestamp; 2] {
    [begin.min(other_begin), end.max(other_end)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::keep;

    /// The line of the first lone row, and the sentence, if the ids of 100 requests are remembered. An item
    /// is whether it is a row, and the number of its request.
    fn sentence(lines: impl IntoIterator<Item = (bool, u64)>) -> Option<(u64, String)> {
        let mut lone_rows = LoneRows::new(100);
        for (number, (is_row, id)) in (1..).zip(lines) {
            let (id, at) = (keep::hash(&id.to_string()), Timestamp::from_unix_micros(id * 1_000_000));
            if is_row {
                lone_rows.add_row(Place { file: "a", number, index: 0, log: 0, twin: None }, id, at);
            } else {
                lone_rows.add_request(id);
            }
            assert!(!lone_rows.is_full());
        }
        let (requests, sentence) = lone_rows.without_line()?;
        Some((requests.first()?.0.1, sentence))
    }

    #[test]
    fn of_many_ids_a_sample_is_checked_in_whatever_order_they_come() {
        let all = |is_row| (0..10_000).map(move |number| (is_row, number));
        let even = || (0..5_000).map(|number| (false, number * 2));
        assert_eq!(sentence(all(true).chain(all(false))), None);
        assert_eq!(sentence(all(false).chain(all(true))), None);
        let [before, after] = [sentence(even().chain(all(true))), sentence(all(true).chain(even()))];
        let (before, after) = (before.unwrap().1, after.unwrap().1);
        assert!(before.contains("; of the requests, one in 128 was checked"), "{before}");
        assert!(after.contains("; of the requests, one in 128 was checked"), "{after}");
    }

    #[test]
    fn requests_with_one_id_are_one_id() {
        assert_eq!(sentence((0..1_000).map(|_| (false, 7)).chain([(true, 7)])), None);
        let repeated = (0..1_000).map(|number| (false, number % 90)).chain([(true, 91)]);
        let (line, sentence) = sentence(repeated).unwrap();
        assert!(line == 1_001 && !sentence.contains("was checked"), "{sentence}");
    }

    #[test]
    fn a_row_waits_for_its_request_and_rows_without_any_request_say_nothing() {
        assert_eq!(sentence((0..10).map(|number| (true, number))), None);
        let lines = [(true, 1), (false, 1), (true, 1), (true, 2), (true, 2), (true, 3), (false, 4)];
        let (line, sentence) = sentence(lines).unwrap();
        assert_eq!(line, 4);
        let times = "from 1970-01-01T00:00:02.000000Z to 1970-01-01T00:00:03.000000Z";
        let begin = format!("3 rows name 2 requests without a line, {times}, ");
        assert!(sentence.starts_with(&begin), "{sentence}");
    }
}
