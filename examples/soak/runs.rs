//! The runs that `take` ends, and how they fit to the lines.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use omni_metrics::{OmniMetricsHandle, Snapshot};

/// How many open requests are asked for at once.
const OPEN_REQUESTS: usize = 16;

/// All runs so far.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(crate) requests: u64,
    /// How many runs had so many requests.
    sizes: BTreeMap<u64, u64>,
    /// How many runs had other totals than percentiles.
    pub(crate) torn: u64,
    /// How many lists of open requests were too long, or not ordered by age.
    pub(crate) disordered: u64,
    /// How many of these requests were still open when they were asked for by id, with their tables.
    pub(crate) asked: u64,
    /// How many of these were another request.
    pub(crate) mistaken: u64,
}

impl Runs {
    pub(crate) fn add(&mut self, run: &Snapshot) {
        let requests = run.overall_summary.e2e_requests;
        let distributed = run.percentiles.e2e_total_ms.map_or(0, |distribution| distribution.count);
        self.requests += requests;
        *self.sizes.entry(requests).or_default() += 1;
        self.torn += u64::from(requests != distributed);
    }

    /// How many runs there were.
    pub(crate) fn count(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// Whether as many lines had each number as there were runs of so many requests and more, but for those
    /// that have no line.
    pub(crate) fn agree_with(&self, numbers: &BTreeMap<u64, u64>, mut missing_lines: u64) -> bool {
        let last = self.sizes.last_key_value().map_or(0, |(size, _)| *size);
        let none_is_too_large = numbers.range(last + 1..).next().is_none();
        none_is_too_large
            && (1..=last).all(|number| {
                let runs: u64 = self.sizes.range(number..).map(|(_, runs)| runs).sum();
                let missing = runs.checked_sub(numbers.get(&number).copied().unwrap_or(0));
                missing.and_then(|missing| missing_lines.checked_sub(missing)).is_some_and(|rest| {
                    missing_lines = rest;
                    true
                })
            })
    }
}

/// Begins a new run again and again, and looks at the open requests in between.
pub(crate) fn take(handle: &OmniMetricsHandle, running: &AtomicBool, every: Duration) -> Runs {
    let mut runs = Runs::default();
    while running.load(Ordering::Relaxed) {
        thread::sleep(every);
        runs.add(&handle.take());
        let open = handle.open_requests(OPEN_REQUESTS);
        let is_ordered = open.is_sorted_by(|older, newer| older.age_ms >= newer.age_ms);
        runs.disordered += u64::from(!is_ordered || open.len() > OPEN_REQUESTS);
        for id in open.iter().filter_map(|request| request.request_id.as_deref()) {
            let Some(line) = handle.request(id) else { continue };
            runs.asked += 1;
            runs.mistaken += u64::from(line.request_id != id);
        }
    }
    runs
}
